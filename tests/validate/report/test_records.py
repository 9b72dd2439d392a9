"""What is written is what the schema says, and the verdict is a pass only of what passed."""

import dataclasses
import json
from pathlib import Path

import jsonschema
import pytest

from records.errors import BadInput
from tests.validate.report import reports
from validate.report import records
from validate.report.records import SCHEMA, Report, Result


def test_the_published_schema_is_the_one_of_the_records() -> None:
    assert json.loads(SCHEMA.read_text()) == records.schema(), "run: make schema"


def test_a_report_matches_the_schema_and_is_read_back_the_same(made: Report, tmp_path: Path) -> None:
    records.write(made, tmp_path / "deep" / "report.json")
    text = (tmp_path / "deep" / "report.json").read_text()
    jsonschema.validate(json.loads(text), json.loads(SCHEMA.read_text()))
    assert records.read(tmp_path / "deep" / "report.json") == made
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["report.json"]


def test_a_report_holds_what_it_promises(made: Report) -> None:
    record = json.loads(records._adapter().dump_json(made))
    assert {"run", "verdict", "checkpoint_sha256", "results"} <= set(record)
    for result in record["results"]:
        assert {
            "target", "precision", "runtime", "runtime_version", "status", "reason", "outputs",
            "agreement", "metric", "latency_ms", "size_bytes", "samples",
        } <= set(result)  # fmt: skip
    (output,) = record["results"][0]["outputs"]
    assert {"max_absolute", "mean_absolute", "max_relative", "sqnr_db", "cosine", "judgements"} <= set(output)
    assert {"measured", "allowed", "headroom", "within", "reason"} <= set(output["judgements"][0])


def test_a_report_from_before_files_were_looked_over_is_read(made: Report, tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    records.write(dataclasses.replace(made, lints=[reports.lint()]), path)
    assert records.read(path).lints == [reports.lint()]
    record = json.loads(path.read_text())
    del record["lints"]
    path.write_text(json.dumps(record))
    assert records.read(path).lints == []


def test_nan_is_null_in_json_and_still_a_failure(made: Report, tmp_path: Path) -> None:
    first = made.results[0]
    broken = dataclasses.replace(first.outputs[0], max_absolute=float("nan"), sqnr_db=float("nan"))
    result = dataclasses.replace(first, status="fail", outputs=[broken])
    changed = dataclasses.replace(made, verdict="fail", results=[result])
    records.write(changed, tmp_path / "report.json")
    text = (tmp_path / "report.json").read_text()
    assert "NaN" not in text
    assert json.loads(text)["results"][0]["outputs"][0]["max_absolute"] is None
    assert records.read(tmp_path / "report.json").results[0].outputs[0].sqnr_db is None


def test_the_verdict_is_pass_only_if_everything_was_run_and_passed(made: Report) -> None:
    passed = [one for one in made.results if one.status == "pass"]
    assert records.verdict(passed) == "pass"
    assert records.verdict([]) == "fail"
    for status in ("fail", "error", "refused", "not_run"):
        other: Result = dataclasses.replace(passed[0], status=status, outcome="blocking")
        assert records.verdict([*passed, other]) == "fail"
    absent = dataclasses.replace(passed[0], status="not_run", outcome="excused")
    assert records.verdict([*passed, absent]) == "pass"
    assert records.verdict([absent]) == "fail"
    assert (made.verdict, made.exit_status) == ("fail", 1)


def test_without_room_the_old_report_stays(made: Report, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import resource

    path = tmp_path / "report.json"
    path.write_text("old")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, before[1]))
    try:
        with pytest.raises(BadInput, match="no room left"):
            records.write(made, path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert path.read_text() == "old"
