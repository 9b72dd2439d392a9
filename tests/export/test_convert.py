"""Conversions of three lines each: order, failures, and nothing unchanged built again."""

import json
import tempfile
from pathlib import Path

import pytest

from export.artifact import Artifact, seal
from export.convert import Outcome, convert
from export.run import Run
from export.target import find, plan
from pipeline.checkpoint import Checkpoint
from records.errors import BadInput
from workers.toolchain import Toolchain

HEAD = "from pathlib import Path\nTOOLCHAIN = 'torch'\n"
COPY = HEAD + (
    "SOURCES = {'float32': 'checkpoint', 'int8': 'copy/float32'}\n"
    "def convert(source, checkpoint, precision, out):\n"
    "    (Path(out) / 'model.txt').write_text(precision)\n"
    "    return {'entry': 'model.txt', 'findings': ['looked at']}\n"
)
LATER = HEAD + (
    "SOURCES = {'float32': 'copy/float32'}\n"
    "def convert(source, checkpoint, precision, out):\n"
    "    (Path(out) / 'model.txt').write_text(Path(source).read_text() + ' again')\n"
    "    return {'entry': 'model.txt'}\n"
)


@pytest.fixture
def run(workplace: Path) -> Run:
    return Run.open("tiny")


@pytest.fixture
def targets(tmp_path: Path) -> Path:
    folder = tmp_path / "targets"
    folder.mkdir()
    (folder / "copy.py").write_text(COPY)
    (folder / "later.py").write_text(LATER)
    return folder


def do(run: Run, targets: Path, jobs: int = 2, force: bool = False) -> dict[str, Outcome]:
    outcomes = convert(run, plan(find(targets)), jobs, force, report=lambda _: None)
    return {outcome.conversion.name: outcome for outcome in outcomes}


def statuses(outcomes: dict[str, Outcome]) -> dict[str, str]:
    return {name: outcome.status for name, outcome in outcomes.items()}


@pytest.mark.parametrize("jobs", [1, 3])
def test_everything_is_converted_after_its_source(run: Run, targets: Path, jobs: int) -> None:
    outcomes = do(run, targets, jobs)
    assert set(statuses(outcomes).values()) == {"built"}
    assert run.artifact("later/float32").path.read_text() == "float32 again"
    manifest = run.artifact("copy/int8")
    assert (manifest.source, manifest.source_sha256) == ("copy/float32", run.artifact("copy/float32").sha256)
    assert manifest.checkpoint_sha256 == run.checkpoint.sha256
    assert manifest.findings == ("looked at",)
    assert manifest.inputs == run.checkpoint.inputs
    assert run.expected() == ["copy/float32", "copy/int8", "later/float32"]


def test_a_target_is_converted_with_the_variables_it_names_and_no_others(run: Run, targets: Path) -> None:
    """At its import already. Those that name the same share a worker, those that do not have one each."""
    body = HEAD + (
        "import os\nSOURCES = {'float32': 'checkpoint'}\nSEEN = os.environ.get('PLACE')\n"
        "def convert(source, checkpoint, precision, out):\n"
        "    (Path(out) / 'model.txt').write_text(f'{SEEN} {os.getpid()}')\n"
        "    return {'entry': 'model.txt'}\n"
    )
    places = {"here": "here", "here_too": "here", "there": "there", "nowhere": None}
    for name, place in places.items():
        (targets / f"{name}.py").write_text(body + (f"ENVIRONMENT = {{'PLACE': {place!r}}}\n" if place else ""))
    outcomes = do(run, targets)
    seen, processes = {}, {}
    for name in places:
        artifact = outcomes[f"{name}/float32"].artifact
        assert artifact
        seen[name], processes[name] = artifact.path.read_text().split()
    assert seen == {name: str(place) for name, place in places.items()}
    assert processes["here"] == processes["here_too"]
    assert len(set(processes.values())) == 3


def test_nothing_unchanged_is_built_again_and_no_worker_started(
    run: Run, targets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    do(run, targets)
    with monkeypatch.context() as patch:
        patch.delattr(Toolchain, "start")
        assert set(statuses(do(run, targets)).values()) == {"unchanged"}
    assert set(statuses(do(run, targets, force=True)).values()) == {"built"}


def test_changed_code_is_built_again_with_all_that_comes_of_it(run: Run, targets: Path) -> None:
    do(run, targets)
    (targets / "later.py").write_text(LATER + "# changed\n")
    assert statuses(do(run, targets)) == {
        "copy/float32": "unchanged", "copy/int8": "unchanged", "later/float32": "built"
    }  # fmt: skip
    (targets / "copy.py").write_text(COPY.replace("looked at", "seen"))
    assert set(statuses(do(run, targets)).values()) == {"built"}


def test_a_new_checkpoint_is_converted_anew(run: Run, targets: Path) -> None:
    do(run, targets)
    record = json.loads((run.checkpoint.folder / "checkpoint.json").read_text())
    arrays = {name: run.checkpoint.arrays(name) for name in record["files"] if name.endswith(".safetensors")}
    config = (run.checkpoint.folder / "config.toml").read_text()
    fields = {key: record[key] for key in record if key not in {"sha256", "files", "format"}}
    Checkpoint.write(run.checkpoint.folder, fields | {"metrics": {"test_accuracy": 0.5}}, config, arrays)
    again = Run.open("tiny")
    with pytest.raises(BadInput, match="made from another checkpoint"):
        again.artifact("copy/float32")
    assert set(statuses(do(again, targets)).values()) == {"built"}


@pytest.mark.parametrize("field", ["task", "labels", "preparation", "normalisation"])
def test_a_manifest_that_tells_an_app_something_else_than_the_checkpoint_is_refused(
    run: Run, targets: Path, field: str
) -> None:
    """Sealed and all: class names in another order turn every right decision into a wrong name."""
    file = do(run, targets)["copy/float32"].artifact.folder / "manifest.json"
    record = json.loads(file.read_text())
    if field == "preparation":
        record["inputs"][0]["preparation"]["resize"] = [64, 64]
    else:
        record[field] = {"labels": record["labels"][::-1], "task": "detection", "normalisation": {}}[field]
    file.write_text(json.dumps(seal(record)))
    with pytest.raises(BadInput, match=f"its manifest has other {field} than"):
        run.artifact("copy/float32")


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("raise ValueError('operator Foo has no equivalent')", "ValueError: operator Foo has no equivalent"),
        ("return {'entry': 'model.txt'}", "wrote no model.txt"),
        ("return None", "wrote no entry"),
        ("import os; (Path(out) / 'half').write_text('x'); os._exit(1)", "ended with exit status 1"),
    ],
)
def test_a_failure_is_one_outcome_and_the_others_go_on(run: Run, targets: Path, body: str, said: str) -> None:
    (targets / "bad.py").write_text(
        HEAD + "SOURCES = {'float32': 'checkpoint', 'int8': 'bad/float32'}\n"
        f"def convert(source, checkpoint, precision, out):\n    {body}\n"
    )
    outcomes = do(run, targets)
    assert statuses(outcomes) == {
        "bad/float32": "failed", "bad/int8": "not_run",
        "copy/float32": "built", "copy/int8": "built", "later/float32": "built",
    }  # fmt: skip
    assert said in outcomes["bad/float32"].reason
    assert outcomes["bad/float32"].log
    assert outcomes["bad/float32"].log.is_file()
    assert "its source bad/float32 failed" in outcomes["bad/int8"].reason
    assert not (run.folder / "artifacts" / "bad" / "float32").exists()
    assert not list((run.folder / "artifacts" / "bad").glob(".*"))
    assert "bad/float32" in run.expected()


def test_a_failed_rebuild_leaves_the_old_artifact(run: Run, targets: Path) -> None:
    do(run, targets)
    before = run.artifact("copy/float32").sha256
    (targets / "copy.py").write_text(COPY.replace("(Path(out)", "raise ValueError; (Path(out)"))
    assert statuses(do(run, targets))["copy/float32"] == "failed"
    assert run.artifact("copy/float32").sha256 == before


def damage(folder: Path, how: str) -> None:
    file = folder / "model.txt"
    if how == "altered":
        file.write_text("other")
    elif how == "missing":
        file.unlink()
    elif how == "extra":
        (folder / "more.txt").write_text("more")
    elif how == "manifest altered":
        manifest = folder / "manifest.json"
        manifest.write_text(manifest.read_text().replace('"copy"', '"onnx"'))
    else:
        manifest = folder / "manifest.json"
        manifest.write_text(manifest.read_text()[:100])


@pytest.mark.parametrize("how", ["altered", "missing", "extra", "manifest altered", "manifest truncated"])
def test_a_damaged_artifact_is_refused_and_converted_again(run: Run, targets: Path, how: str) -> None:
    do(run, targets)
    damage(run.place("copy/int8"), how)
    with pytest.raises(BadInput, match=r"truncated or altered|is missing|not in its manifest|was altered"):
        run.artifact("copy/int8")
    assert statuses(do(run, targets))["copy/int8"] == "built"
    assert run.artifact("copy/int8")


def test_an_artifact_in_anothers_place_is_refused(run: Run, targets: Path) -> None:
    do(run, targets)
    run.place("copy/int8").rename(run.place("copy/other"))
    run.place("copy/float32").rename(run.place("copy/int8"))
    with pytest.raises(BadInput, match="its manifest says copy/float32"):
        run.artifact("copy/int8")


def test_a_manifest_documents_interface_and_preparation(run: Run, targets: Path) -> None:
    do(run, targets)
    record = json.loads((run.place("copy/float32") / "manifest.json").read_text())
    assert record["inputs"][0]["name"] == "image"
    assert record["inputs"][0]["preparation"]["resize"] == [28, 28]
    assert record["normalisation"]["inside_model"] is True
    assert len(record["labels"]) == 10
    assert record["peak_memory"] > 0
    assert Artifact.open(run.place("copy/float32")).size_bytes == len("float32")


def test_ctrl_c_ends_the_workers_that_are_busy(run: Run, targets: Path) -> None:
    (targets / "slow.py").write_text(
        HEAD + "import time\nSOURCES = {'float32': 'checkpoint'}\n"
        "def convert(source, checkpoint, precision, out):\n    time.sleep(600)\n"
    )

    def press(outcome: Outcome) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        convert(run, plan(find(targets)), jobs=2, force=False, report=press)
    assert not list((run.folder / "artifacts" / "slow").glob("*"))


FULL = HEAD + (
    "import errno, os\nSOURCES = {'float32': 'checkpoint'}\n"
    "def convert(source, checkpoint, precision, out):\n"
    "    raise OSError(getattr(errno, KIND), os.strerror(getattr(errno, KIND)))\n"
)


@pytest.mark.parametrize(
    ("kind", "said"),
    [("ENOSPC", "no room left on the disk (No space left"), ("EROFS", "cannot be written to (Read-only")],
)
def test_a_disk_that_fails_in_a_worker_is_named(run: Run, targets: Path, kind: str, said: str) -> None:
    (targets / "full.py").write_text(f"KIND = {kind!r}\n{FULL}")
    outcome = do(run, targets)["full/float32"]
    assert outcome.status == "failed"
    places = [str(run.place("full/float32")), tempfile.gettempdir()]  # whichever of their disks is fuller
    assert any(outcome.reason.startswith(f"{place}: {said}") for place in places), outcome.reason
    assert not run.holds("full/float32")


def test_a_log_that_cannot_be_written_is_a_failed_conversion(run: Run, targets: Path) -> None:
    (run.folder / "logs").write_text("a file where a folder should be")
    outcome = do(run, targets)["copy/float32"]
    assert (outcome.status, "cannot be written" in outcome.reason) == ("failed", True)
