"""The command line: what each command does, and that bad input is one sentence and exit status 2."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Said, scans
from workers.toolchain import Toolchain

Command = Callable[..., Said]


def test_help_imports_no_torch() -> None:
    code = "import sys, anywhere; assert not {'torch', 'numpy', 'onnx', 'pydantic'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
    done = subprocess.run([sys.executable, "-m", "anywhere", "--help"], capture_output=True, text=True, check=True)
    assert all(name in done.stdout for name in ("train", "export", "validate", "report", "targets", "doctor"))


def test_a_machine_whose_texts_are_ascii_is_served_as_others(tmp_path: Path) -> None:
    """Files hold `→` and labels any letter; what such a terminal has no letter for is a question mark."""
    (tmp_path / "ä.toml").write_text('[data]\ndataset = "größe"\n', encoding="utf-8")
    root = str(Path(__file__).parents[1])
    variables = {"PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "LC_ALL": "C", "PYTHONPATH": root}
    run = [sys.executable, "-m", "anywhere"]
    for command, status in ((["targets"], 0), (["train", "--config", "ä.toml"], 2), (["report", "ü"], 2)):
        done = subprocess.run([*run, *command], cwd=tmp_path, capture_output=True, env={**os.environ, **variables})
        assert (done.returncode, b"Traceback" in done.stderr) == (status, False), done.stderr.decode()
        assert done.stderr.count(b"\n") == (status == 2)


@pytest.mark.nightly
def test_train_export_validate_in_one_go(command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    scans(tmp_path / "images", 30)
    trained = command(
        "train", "--folder", "images", "--model", "simple_cnn", "--epochs", "12", "--run", "mine",
        "--set", "train.batch_size=8", "--set", "data.augmentation=none",
    )  # fmt: skip
    assert (trained.status, "runs/mine/checkpoint: test accuracy" in trained.out) == (0, True), trained.err
    again = command("export", "--to", "onnx", "--precision", "float32,int8")
    assert again.status == 0, again.out
    assert again.out.count("built") == 2
    with monkeypatch.context() as patch:
        patch.delattr(Toolchain, "start")
        unchanged = command("export", "--to", "onnx", "--precision", "float32,int8")
    assert (unchanged.status, unchanged.out.count("unchanged")) == (0, 2)
    said = command("validate", "--threads", "1", "--calls", "3")
    report = json.loads(Path("runs/mine/report/report.json").read_text())
    assert said.status == (0 if report["verdict"] == "pass" else 1)
    assert list(dict.fromkeys(result["target"] + "/" + result["precision"] for result in report["results"])) == [
        "onnx/float32",
        "onnx/int8",
    ]
    assert report["results"][0]["status"] == "pass", said.out
    assert report["verdict"] in said.out.splitlines()[-2]


def test_a_training_that_leaves_golden_without_proof_says_so(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    scans(tmp_path / "images", 30)
    trained = command(
        "train",
        "--folder",
        "images",
        "--model",
        "simple_cnn",
        "--epochs",
        "1",
        "--run",
        "few",
        "--set",
        "data.golden=8",
    )
    assert trained.status == 0
    assert "nothing can be proved of it: golden of run few: 8 samples; parity needs 16." in trained.out


def test_validate_exits_1_if_something_is_missing(command: Command, released: Path) -> None:
    shutil.rmtree("runs/tiny/artifacts/onnx/int8")
    said = command("validate", "--calls", "3", "--leave-out", "t*", "--leave-out", "saved_model*")
    assert said.status == 1
    assert "onnx/int8 in onnxruntime and 1 more row: it was to be exported" in said.out  # ONNX Runtime Web
    assert json.loads(Path("runs/tiny/report/report.json").read_text())["verdict"] == "fail"


@pytest.mark.slow
def test_export_exits_1_and_names_the_log_if_one_fails(command: Command, workplace: Path) -> None:
    Path("runs/tiny/artifacts").mkdir()
    Path("runs/tiny/artifacts/onnx").write_text("a file where a folder belongs")
    said = command("export", "--to", "torchscript,onnx", "--precision", "float32")
    assert said.status == 1
    assert "onnx/float32 cannot be written: " in said.out
    assert "Log: runs/tiny/logs/export/onnx-float32.log" in said.out
    assert Path("runs/tiny/artifacts/torchscript/float32/model.pt").is_file()


def test_a_run_that_is_trained_already_is_left_alone(command: Command, workplace: Path) -> None:
    config = "runs/tiny/checkpoint/config.toml"
    before = Path("runs/tiny/checkpoint/checkpoint.json").read_bytes()
    said = command("train", "--config", config, "--run", "tiny")
    assert (said.status, "nothing to do" in said.out) == (0, True)
    assert "nothing to resume" in command("train", "--resume", "--run", "tiny").out
    other = command("train", "--config", config, "--run", "tiny", "--seed", "4")
    assert other.status == 2
    assert "was trained with another configuration" in other.err
    assert Path("runs/tiny/checkpoint/checkpoint.json").read_bytes() == before


def test_targets_lists_what_can_be_made_and_run(command: Command) -> None:
    said = command("targets")
    assert said.status == 0
    for row in (("onnx", "int8", "onnx/float32", "torch ready", "onnxruntime ready"), ("torchscript", "float32")):
        assert any(all(word in line for word in row) for line in said.out.splitlines())


@pytest.mark.slow
def test_doctor_says_what_is_missing_and_what_mends_it(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from workers import registry

    folder = tmp_path / "toolchains"
    shutil.copytree(registry.FOLDER / "torch", folder / "torch")
    monkeypatch.setattr(registry.find, "__defaults__", (folder,))
    monkeypatch.setenv("ANYWHERE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("ANYWHERE_CHROMIUM", "/no/such")
    said = command("doctor")
    assert said.status == 0
    assert any("optional" in line and "chromium" in line for line in said.out.splitlines())
    assert "apt-get install chromium" in " ".join(said.out.split())
    for name in ("foreign", "emulated"):
        (folder / name).mkdir()
        (folder / name / "requirements.in").write_text("")
        (folder / name / "requirements.txt").write_text("")
    (folder / "emulated" / "packages.txt").write_text("no-such-package\n")
    said = command("doctor")
    assert said.status == 1
    assert any("missing" in line and "foreign" in line for line in said.out.splitlines())
    assert any("optional" in line and "emulated" in line for line in said.out.splitlines())
    assert "anywhere doctor --fix" in said.out
    mended = command("doctor", "--fix")
    assert mended.status == 0, mended.out
    assert any("optional" in line and "emulated" in line for line in mended.out.splitlines())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("train", "--model", "resnet81"), "unknown model 'resnet81'. Nearest: resnet18"),
        (("train", "--dataset", "minst"), "unknown dataset 'minst'. Nearest: "),
        (("train", "--run", "../other"), "run '../other': not a name of a folder in runs/"),
        (("train", "--folder", "nowhere"), "dataset folder nowhere: no such folder"),
        (("train", "--config", "none.toml"), "none.toml: cannot be read"),
        (("train", "--set", "train.epoch=3"), "unknown key 'train.epoch'. Nearest: train.epochs"),
        (("train", "--epochs", "0"), "train.epochs = 0"),
        (("train", "--resume", "--epochs", "4"), "give no other option than --run and --trust with it"),
        (("train", "--resume", "--run", "none"), "runs/none/checkpoint: there is none"),
        (("train", "--set", "task=segmentatoin"), "unknown task 'segmentatoin'"),
        (("export", "--to", "onxx"), "unknown target 'onxx'. Nearest: onnx"),
        (("export", "--precision", "int9"), "unknown precision 'int9'. Nearest: int8"),
        (("export", "none"), "checkpoint runs/none/checkpoint: there is none"),
        (("export", "../tiny"), "not a name of a folder in runs/"),
        (("validate", "none"), "checkpoint runs/none/checkpoint: there is none"),
        (("validate", "tiny"), "nothing was exported"),
        (("report", "none"), "checkpoint runs/none/checkpoint: there is none"),
        (("report", "tiny"), "report runs/tiny/report/report.json: there is none. Validate first"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_status_2(
    command: Command, workplace: Path, arguments: tuple[str, ...], said: str
) -> None:
    before = sorted(str(path) for path in Path().rglob("*"))
    result = command(*arguments)
    assert result.status == 2, result.out
    assert result.err.startswith("error: ")
    assert said in result.err
    assert result.err.count("\n") == 1
    assert sorted(str(path) for path in Path().rglob("*") if path.name != ".lock") == before


@pytest.mark.parametrize("arguments", [("no-such-command",), ("train", "--no-such-option"), ("train", "--epochs", "x")])
def test_a_usage_error_is_exit_status_2(command: Command, arguments: tuple[str, ...]) -> None:
    assert command(*arguments).status == 2


@pytest.mark.parametrize(
    ("break_it", "said"),
    [
        (lambda run: (run / "checkpoint/weights.safetensors").write_bytes(b"x"), "weights.safetensors was truncated"),
        (lambda run: (run / "artifacts/onnx/int8/model.onnx").write_bytes(b"x"), "does not match its manifest"),
        (lambda run: (run / "artifacts/onnx/int8/manifest.json").unlink(), "artifacts/onnx/int8: there is none"),
        (lambda run: (run / "artifacts/expected.json").write_text("["), "was truncated or altered"),
    ],
)
def test_validate_judges_nothing_that_was_tampered_with(
    command: Command, at_home: Path, break_it: Callable[[Path], object], said: str
) -> None:
    break_it(Path("runs/tiny"))
    result = command("validate")
    assert (result.status, said in result.err) == (2, True), result.err
    assert not Path("runs/tiny/report/report.json").exists()


@pytest.mark.slow
def test_an_artifact_older_than_its_checkpoint_is_refused(command: Command, at_home: Path) -> None:
    said = command("train", "--config", "runs/tiny/checkpoint/config.toml", "--run", "tiny", "--seed", "3", "--force")
    assert said.status == 0, said.err
    result = command("validate", "tiny")
    assert result.status == 2
    assert "made from another checkpoint" in result.err
    assert "anywhere export tiny" in result.err


@pytest.mark.slow
def test_without_room_training_keeps_the_last_checkpoint(tmp_path: Path, images: Path) -> None:
    """A limit on file size in a process of its own: what a full disk does to the second, larger checkpoint."""
    code = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (2_000_000, -1));"
        f"sys.argv = ['anywhere', 'train', '--folder', {str(images)!r}, '--run', 'full', '--image-size', '32',"
        " '--epochs', '1', '--set', 'train.batch_size=8'];"
        "import anywhere; anywhere.main()"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2, done.stderr
    assert "no room left on the disk" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert [path.name for path in (tmp_path / "runs" / "full").iterdir() if "checkpoint" in path.name] == []
