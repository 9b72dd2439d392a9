"""A notebook shows the page of a report, and a script stops where it did not pass."""

import dataclasses

import pytest

from records.errors import NotProved
from tests.validate.report import reports
from validate.report.records import Report
from validate.report.shown import ShownReport


def test_a_notebook_shows_the_whole_page_in_a_frame(made: Report) -> None:
    shown = ShownReport.of(reports.everything(made))._repr_html_()
    assert shown.startswith("<iframe srcdoc=")
    assert "&lt;!doctype html" in shown or "<!doctype html" in shown
    assert "<script" not in shown


def test_a_report_that_did_not_pass_raises_with_its_blocking_rows(made: Report) -> None:
    report = ShownReport.of(reports.everything(made))
    assert report.verdict == "fail"
    with pytest.raises(NotProved) as raised:
        report.raise_for_failure()
    first, *rows = str(raised.value).splitlines()
    assert first == f"run {report.run}: {sum(result.blocking for result in report.results)} rows do not pass"
    assert all(any(row.startswith(result.name) for row in rows) for result in report.results if result.blocking)
    ShownReport.of(dataclasses.replace(report, verdict="pass")).raise_for_failure()
