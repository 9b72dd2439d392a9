"""A failed row's script runs: alone, by any Python, and gives the numbers of the report."""

import dataclasses
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from export.run import Run
from tests.conftest import Said
from tests.validate.report import reports
from tests.validate.test_parity import rewrite, scale
from validate import parity
from validate.measure import Options
from validate.report import reproduce, sentences
from validate.report.records import Report, Result
from validate.runtimes import runner
from validate.settings import ValidateConfig

ROOT = Path(__file__).parents[3]


def script(report: Report, run: Run, result: Result) -> Path:
    """Written, for a row that failed."""
    (file,) = reproduce.scripts(dataclasses.replace(report, results=[result]), run).items()
    folder = run.folder / "report" / "reproduce"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / file[0]).write_text(file[1])
    return folder / file[0]


def ran(file: Path, python: str = sys.executable) -> subprocess.CompletedProcess[str]:
    """By its path alone; that the checkout is found stands in for an installed project."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run([python, str(file)], capture_output=True, text=True, env=environment, timeout=200)


def failed(result: Result) -> Result:
    return dataclasses.replace(result, status="fail", outcome="blocking", reason=reports.HOSTILE)


def same(done: subprocess.CompletedProcess[str], result: Result) -> None:
    assert done.returncode == 0, done.stderr
    assert result.agreement
    output = result.outputs[0]
    assert f"{output.name}: SQNR {output.sqnr_db:.1f} dB, greatest difference {output.max_absolute:.3g}" in done.stdout
    assert f"of {result.samples} decisions" in done.stdout


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_the_script_gives_the_numbers_of_the_report(shown: Run, made: Report, precision: str) -> None:
    (result,) = [one for one in made.results if one.target == "onnx" and one.precision == precision]
    file = script(made, shown, failed(result))
    assert file.name == f"onnx-{precision}-onnxruntime.py"
    same(ran(file), result)
    assert "import validate" not in file.read_text()


@pytest.mark.parametrize("task", ["detection", "classification"])
def test_the_script_says_where_what_is_found_may_have_changed_places(
    shown: Run, made: Report, task: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = next(one for one in made.results if one.target == "onnx")
    artifact = dataclasses.replace(shown.artifact(sentences.artifact(result)), task=task)
    monkeypatch.setattr(reproduce, "_artifact", lambda *_: artifact)
    text = script(made, shown, failed(result)).read_text()
    assert ("may have changed places" in text) == (task == "detection")
    compile(text, "script", "exec")


def test_another_python_hands_over_to_the_one_that_has_what_is_needed(shown: Run, made: Report) -> None:
    result = reports.passed(made)[0]
    python = "/usr/bin/python3"
    assert Path(python).resolve() != Path(sys.executable).resolve()
    same(ran(script(made, shown, failed(result)), python), result)


def test_rows_that_passed_or_cannot_be_done_again_have_none(shown: Run, made: Report) -> None:
    assert reproduce.scripts(made, shown) == {}  # torchscript has no runner
    good = reports.passed(made)[0]
    absent = dataclasses.replace(good, status="not_run", outcome="blocking", reason="chromium is not on this machine")
    accepted = dataclasses.replace(good, status="refused", outcome="excused", reason="it has no SUM")
    assert reproduce.scripts(dataclasses.replace(made, results=[absent, accepted]), shown) == {}


@pytest.mark.slow
def test_a_conversion_that_left_nothing_is_done_again(shown: Run, made: Report) -> None:
    shutil.rmtree("runs/tiny/artifacts/onnx/int8")
    runners = [one for one in runner.find() if one.name == "onnx_in_onnxruntime"]
    report = parity.check(shown, runners, Options(1, timed=3))
    (result,) = [one for one in report.results if one.precision == "int8"]
    done = ran(script(report, shown, result))
    assert done.returncode == 0, done.stderr
    assert "model.onnx" in done.stdout.splitlines()[-1]
    assert not Path("runs/tiny/artifacts/onnx/int8").exists()


@pytest.mark.slow
def test_a_conversion_without_a_source_does_the_source_and_shows_why_it_fails(shown: Run, made: Report) -> None:
    for precision in ("float32", "int8"):
        shutil.rmtree(f"runs/tiny/artifacts/onnx/{precision}")
    row = next(one for one in made.results if one.precision == "int8")
    lost = dataclasses.replace(row, status="not_run", outcome="blocking", artifact_sha256=None, size_bytes=None)
    file = script(made, shown, lost)
    assert "The conversion that left no artifact: onnx/float32." in file.read_text()
    shutil.rmtree("runs/tiny/checkpoint")
    done = ran(file)
    assert done.returncode == 1
    assert "Traceback" in done.stderr  # the converter's own log
    assert "checkpoint: there is none" in done.stderr.splitlines()[-1]


@pytest.mark.slow
def test_whoever_types_what_is_next_never_types_it_twice_and_comes_to_the_script(
    shown: Run, command: Callable[..., Said]
) -> None:
    rewrite("onnx/float32", scale("conv2.weight", 1.05))
    typed = ['anywhere validate tiny --only "onnx/float32 in onnxruntime" --calls 1']
    while typed[-1].startswith("anywhere "):
        said = command(*shlex.split(typed[-1])[1:])
        assert said.status == 1
        (following,) = re.findall(r"Next: (.*)$", said.out, re.M)
        assert following not in typed
        typed.append(following)
    assert typed[1:] == [
        'anywhere validate tiny --localise --only "onnx/float32 in onnxruntime"',
        "python runs/tiny/report/reproduce/onnx-float32-onnxruntime.py",
    ]
    done = ran(Path(typed[-1].removeprefix("python ")))
    assert done.returncode == 0, done.stderr
    assert "logits: SQNR" in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    "row",
    [
        "tfjs/float32 in node wasm",
        "tflite/int8 in litert builtin",
        "onnx/float32 in ort_web wasm",
        "saved_model/float32 in tensorflow onednn",
    ],
)
def test_scripts_of_other_runtimes_run(released: Path, row: str) -> None:
    """In Node, in a toolchain's own Python, in Chromium, with the variables of the runner's backend."""
    run = Run.open("tiny")
    report = parity.check(run, runner.find(), Options(1, timed=3), settings=ValidateConfig(only=(row,)))
    (result,) = [one for one in report.results if one.name == row]
    same(ran(script(report, run, failed(result))), result)
