"""What got worse since an earlier report, and reports that cannot be compared with."""

import dataclasses
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from export.run import Run
from records.errors import BadInput
from tests.conftest import Said, entered
from tests.validate.test_parity import own
from validate import parity
from validate.judge import baseline
from validate.measure import Options
from validate.report import records
from validate.report.records import Report, Result
from validate.runtimes.runner import Runner
from validate.settings import ValidateConfig

PLACE = Path("runs/tiny/report/report.json")


def of_onnx() -> list[Runner]:
    return [one for one in own() if one.target == "onnx"]


@pytest.fixture(scope="module")
def reported(native: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds `runs/tiny` with a report. Not to be written into: `made` is of a copy."""
    place = tmp_path_factory.mktemp("reported")
    with pytest.MonkeyPatch.context() as patch:
        entered(native, place / "work", patch)
        records.write(parity.check(Run.open("tiny"), of_onnx(), Options(1, timed=3)), PLACE)
    return place / "work"


@pytest.fixture
def made(reported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Report:
    """The report, and into a folder of its own that holds it."""
    entered(reported, tmp_path / "work", monkeypatch)
    return records.read(PLACE)


def worse(result: Result, **changes: Any) -> Result:
    """The result as it might be later."""
    return dataclasses.replace(result, **changes)


def compared(made: Report, change: Callable[[Result], Result], **settings: Any) -> Result:
    (before,) = [one for one in made.results if one.name == "onnx/float32 in onnxruntime"]
    return baseline.compare(change(before), made, ValidateConfig(**settings))


def slower(result: Result) -> Result:
    assert result.latency_ms
    return worse(result, latency_ms=dataclasses.replace(result.latency_ms, median=2 * result.latency_ms.median))


def larger(result: Result) -> Result:
    assert result.size_bytes
    return worse(result, size_bytes=int(1.06 * result.size_bytes))


def nearer_the_limit(result: Result) -> Result:
    """With less than half of the headroom."""
    (output,) = result.outputs
    judged = [dataclasses.replace(one, headroom=(one.headroom or 0) * 0.4) for one in output.judgements]
    return worse(result, outputs=[dataclasses.replace(output, judgements=judged)])


@pytest.mark.parametrize(("change", "said"), [(slower, "latency"), (larger, "size"), (nearer_the_limit, "headroom")])
def test_worse_is_a_warning_and_by_option_a_failure(
    made: Report, change: Callable[[Result], Result], said: str
) -> None:
    warned = compared(made, change)
    assert warned.status == "pass"
    assert f"worse than the baseline: {said}" in warned.warnings[-1]
    failed = compared(made, change, baseline_fails=True)
    assert (failed.status, failed.outcome) == ("fail", "blocking")
    assert said in failed.reason


def test_the_same_is_not_worse(made: Report) -> None:
    assert compared(made, lambda result: result).warnings == []
    assert compared(made, slower, baseline_latency=2.5).warnings == []
    assert compared(made, larger, baseline_size=1.1).warnings == []


def altered(change: Callable[[dict[str, Any]], None]) -> Path:
    values = json.loads(PLACE.read_text())
    change(values)
    path = Path("earlier.json")
    path.write_text(json.dumps(values))
    return path


def of_version_2(values: dict[str, Any]) -> None:
    values["schema_version"] = 2


def of_another_model(values: dict[str, Any]) -> None:
    values["model"]["name"] = "resnet18"


def with_other_labels(values: dict[str, Any]) -> None:
    values["model"]["labels"] = ["a", "b"]


def of_onnx_alone(values: dict[str, Any]) -> None:
    values["results"] = [row for row in values["results"] if row["target"] == "onnx"]


def without_a_field(values: dict[str, Any]) -> None:
    del values["results"][0]["status"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (of_version_2, f"schema version 2, this version reads {records.SCHEMA_VERSION}"),
        (of_another_model, "of another model (name resnet18, here simple_cnn)"),
        (with_other_labels, "of another model (labels ['a', 'b']"),
        (of_onnx_alone, 'has no row "exported_program/float32 in torch" nor'),
        (without_a_field, "was truncated or altered (results.0.status"),
    ],
)
def test_a_baseline_that_does_not_fit_is_refused_and_nothing_is_overwritten(
    made: Report, command: Callable[..., Said], change: Callable[[dict[str, Any]], None], said: str
) -> None:
    before = PLACE.read_bytes()
    outcome = command("validate", "tiny", "--baseline", str(altered(change)))
    assert outcome.status == 2
    assert said in outcome.err
    assert PLACE.read_bytes() == before


def test_what_is_no_report_is_refused(made: Report) -> None:
    Path("none.json").write_text("{")
    for name, said in (("none.json", "truncated or altered"), ("absent.json", "No such file")):
        with pytest.raises(BadInput, match=said):
            baseline.read(Path(name), made.model)


def test_the_report_names_its_baseline(made: Report) -> None:
    row = ValidateConfig(only=("onnx/float32 in onnxruntime",))
    found = parity.check(Run.open("tiny"), of_onnx(), Options(1, timed=3), settings=row, earlier=PLACE)
    assert found.baseline
    assert (found.baseline.path, found.baseline.checkpoint_sha256) == (str(PLACE), made.checkpoint_sha256)


@pytest.mark.parametrize("number", ["1e999", "NaN", "-Infinity"])
def test_a_baseline_whose_latency_is_no_number_is_refused(made: Report, tmp_path: Path, number: str) -> None:
    records.write(made, tmp_path / "report.json")
    text = re.sub(r'("median": )[\d.e-]+', rf"\g<1>{number}", (tmp_path / "report.json").read_text(encoding="utf-8"))
    (tmp_path / "report.json").write_text(text, encoding="utf-8")
    with pytest.raises(BadInput, match=r"latency_ms.median: Input should be a finite number"):
        baseline.read(tmp_path / "report.json", made.model)
