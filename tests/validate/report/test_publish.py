"""A report's files are all of one report, and written again without running anything; or not written at all."""

import dataclasses
import json
import resource
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from export.run import Run
from records.errors import BadInput
from tests.conftest import Said
from tests.validate.report import reports
from validate.report import publish, records
from validate.report.records import Report

FOLDER = Path("runs/tiny/report")
FILES = {"report.json", "report.html", "report.md", "junit.xml"}


def contents() -> dict[str, bytes]:
    return {str(path.relative_to(FOLDER)): path.read_bytes() for path in FOLDER.rglob("*") if path.is_file()}


def whole(made: Report) -> Report:
    """With a row for every artifact in every runtime; one has failed."""
    first = reports.passed(made)[0]
    rows = [
        dataclasses.replace(first, target=target, precision=precision, runtime=where, backend=backend)
        for target, precision, where, backend in (
            ("onnx", "float32", "onnxruntime", ""),
            ("onnx", "float32", "ort_web", "wasm"),
            ("onnx", "int8", "onnxruntime", ""),
            ("onnx", "int8", "ort_web", "wasm"),
            ("torchscript", "float32", "torch", ""),
        )
    ]
    return dataclasses.replace(made, verdict="fail", results=[reports.beyond(rows[0]), *rows[1:]])


def test_all_files_are_of_one_report(shown: Run, made: Report) -> None:
    written = publish.publish(whole(made), shown)
    assert {path.name for path in written} == {*FILES, "reproduce"}
    assert all(path.exists() for path in written)
    assert set(contents()) == {*FILES, "reproduce/onnx-float32-onnxruntime.py"}
    assert records.read(FOLDER / "report.json") == whole(made)
    assert "onnx/float32 in onnxruntime" in (FOLDER / "report.html").read_text()
    assert "data:image/png;base64," in (FOLDER / "report.html").read_text()


def test_scripts_of_an_earlier_report_go(shown: Run, made: Report) -> None:
    publish.publish(whole(made), shown)
    assert publish.publish(reports.passing(made), shown)[-1].name != "reproduce"
    assert set(contents()) == FILES


def test_some_rows_alone_leave_their_scripts_and_no_report(shown: Run, made: Report) -> None:
    publish.publish(whole(made), shown)
    before = contents()
    narrow = dataclasses.replace(made, results=[reports.beyond(reports.row(made, precision="int8"))])
    (script,) = publish.scripts(narrow, shown)
    assert script == FOLDER / "reproduce" / "onnx-int8-onnxruntime.py"
    assert contents() == {**before, "reproduce/onnx-int8-onnxruntime.py": script.read_bytes()}
    assert publish.scripts(reports.passing(made), shown) == []


def test_without_room_every_old_file_stays(shown: Run, made: Report) -> None:
    publish.publish(whole(made), shown)
    before = contents()
    enough = len(before["report.html"]) // 2
    assert len(before["junit.xml"]) < enough  # so that something fits
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (enough, limits[1]))
    try:
        with pytest.raises(BadInput, match="no room left"):
            publish.publish(dataclasses.replace(whole(made), created="2027"), shown)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert contents() == before
    assert {path.name for path in FOLDER.iterdir()} == {*FILES, "reproduce"}


def test_report_writes_the_others_anew_from_json(command: Callable[..., Said], shown: Run, made: Report) -> None:
    publish.publish(whole(made), shown)
    before = contents()
    for path in FOLDER.iterdir():
        if path.name != "report.json":
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    said = command("report", "tiny")
    assert said.status == 0, said.err
    assert "runs/tiny/report: " in said.out
    assert contents() == before


def test_a_verdict_that_does_not_follow_from_the_rows_is_refused(
    command: Callable[..., Said], shown: Run, made: Report
) -> None:
    publish.publish(whole(made), shown)
    changed(verdict="pass")()
    said = command("report", "tiny")
    assert said.status == 2
    assert "says pass, but its rows say fail. Validate again" in said.err


def changed(**values: Any) -> Callable[[], object]:
    """The same JSON with other values."""

    def change() -> None:
        path = FOLDER / "report.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | values))

    return change


def without_a_row() -> None:
    path = FOLDER / "report.json"
    record = json.loads(path.read_text())
    path.write_text(json.dumps(record | {"results": record["results"][:-1]}))


@pytest.mark.parametrize(
    ("break_it", "said"),
    [
        (changed(schema_version=2), f"schema version 2, this version reads {records.SCHEMA_VERSION}"),
        (changed(checkpoint_sha256="0" * 64), "of another checkpoint (000000000000)"),
        (changed(results=None), "was truncated or altered (results: "),
        (without_a_row, 'has no row "torchscript/float32 in torch"'),
        (
            lambda: (FOLDER / "report.json").write_bytes((FOLDER / "report.json").read_bytes()[:999]),
            "was truncated or altered",
        ),
        (lambda: (FOLDER / "report.json").unlink(), "there is none. Validate first: anywhere validate tiny."),
    ],
)
def test_a_report_that_is_not_of_this_run_overwrites_nothing(
    command: Callable[..., Said], shown: Run, made: Report, break_it: Callable[[], object], said: str
) -> None:
    publish.publish(whole(made), shown)
    break_it()
    before = contents()
    result = command("report", "tiny")
    assert (result.status, result.err.count("\n")) == (2, 1), result.err
    assert said in result.err
    assert "anywhere validate" in result.err
    assert contents() == before
