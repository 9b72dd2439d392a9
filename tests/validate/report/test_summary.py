"""report.md shows what is in it as text; junit.xml is what build servers read."""

import re
from xml.etree import ElementTree

from tests.validate.report import reports
from validate.report import sentences, summary
from validate.report.records import Report


def cells(line: str) -> list[str]:
    return [one.strip() for one in re.split(r"(?<!\\)\|", line)[1:-1]]


def tables(text: str) -> list[list[list[str]]]:
    blocks = re.findall(r"(?:^\|.*\n)+", text, re.M)
    return [[cells(line) for line in block.splitlines()] for block in blocks]


def test_the_failed_rows_come_first_and_every_row_is_there(made: Report) -> None:
    report = reports.everything(made)
    text = summary.markdown(report)
    failed, every = tables(text)
    unsettled = [one for one in sentences.ordered(report.results) if one.blocking]
    assert text.startswith("## ❌ tiny: fail: ")
    assert [row[1].replace("\\", "") for row in failed[2:]] == [one.where for one in unsettled]
    assert len(every) == 2 + len(report.results) + len(sentences.prepared(report))
    assert {len(row) for row in failed + every} == {10}
    assert text.count("<details>") == text.count("</details>") == len(unsettled) + 1
    assert summary.markdown(reports.passing(made)).startswith("## ✅ tiny: pass: ")


def test_markdown_shows_reasons_as_text(made: Report) -> None:
    text = summary.markdown(reports.everything(made))
    assert "\\<script\\>alert(1)\\</script\\> \\|" in text
    assert "<script>" not in text
    assert "max \\|d\\|" in text


def test_a_failure_is_folded_with_what_to_type(made: Report) -> None:
    text = summary.markdown(reports.everything(made))
    block = text.split("<summary>tflite/int8 in litert xnnpack</summary>")[1].split("</details>")[0]
    assert "sqnr\\_db 12.5 (at least 25 allowed)." in block
    assert "```sh\nanywhere export tiny --to tflite --precision int8 --keep-float features.120\n" in block
    assert "\npython runs/tiny/report/reproduce/tflite-int8-litert-xnnpack.py" in block


ATTRIBUTES = {
    "testsuites": {"name", "time", "tests", "failures", "errors", "disabled"},
    "testsuite": {"name", "tests", "failures", "errors", "skipped", "time", "timestamp", "hostname", "id", "package"},
    "properties": set[str](),
    "property": {"name", "value"},
    "testcase": {"name", "classname", "time", "assertions", "status"},
    "failure": {"message", "type"},
    "error": {"message", "type"},
    "skipped": {"message"},
    "system-out": set[str](),
}
"""Those that Jenkins' schema knows."""
CHILDREN = {
    "testsuites": {"testsuite"},
    "testsuite": {"properties", "testcase", "system-out"},
    "properties": {"property"},
    "testcase": {"skipped", "error", "failure", "system-out"},
}


def test_junit_is_what_build_servers_read(made: Report) -> None:
    report = reports.everything(made)
    root = ElementTree.fromstring(summary.junit(report))
    assert root.tag == "testsuites"
    for element in root.iter():
        assert set(element.attrib) <= ATTRIBUTES[element.tag], element.tag
        assert {child.tag for child in element} <= CHILDREN.get(element.tag, set()), element.tag
    (suite,) = root
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", suite.attrib["timestamp"])
    counted = {kind: len(suite.findall(f"testcase/{kind}")) for kind in ("failure", "error", "skipped")}
    assert counted == {"failure": 1, "error": 3, "skipped": 2}
    assert (suite.attrib["failures"], suite.attrib["errors"], suite.attrib["skipped"]) == ("1", "3", "2")
    assert suite.attrib["tests"] == str(len(report.results))
    cases = {(case.attrib["classname"], case.attrib["name"]): case for case in suite.findall("testcase")}
    assert set(cases) == {(f"tiny.{sentences.artifact(one)}", one.where) for one in report.results}
    for one in report.results:
        case = cases[f"tiny.{sentences.artifact(one)}", one.where]
        assert (len(case) == 1) == (one.status == "pass")  # system-out alone
        if one.latency_ms:
            assert float(case.attrib["time"]) == round(one.latency_ms.median / 1e3, 6)


def test_junit_says_why_and_what_to_type(made: Report) -> None:
    root = ElementTree.fromstring(summary.junit(reports.everything(made)))
    (failure,) = root.iter("failure")
    assert failure.attrib["message"].startswith("logits: sqnr_db 12.5")
    assert "anywhere export tiny --to tflite --precision int8 --keep-float" in (failure.text or "")
    error = next(one for one in root.iter("error") if one.attrib["type"] == "error")
    assert "<script>alert(1)</script>" in error.attrib["message"]
    assert "\ufffd[31m" in error.attrib["message"]  # XML has no character for ESC


def test_what_xnnpack_takes_is_a_note(made: Report) -> None:
    text = summary.markdown(reports.everything(made))
    assert "- **tflite/float32, tflite/float16**: all 65 operators run in XNNPACK.\n" in text
    assert (
        "- **tflite/int8\\_dynamic**: 61 of 65 operators run in XNNPACK; not: 4 TRANSPOSE of 5 axes (in \\<script\\>"
        in text
    )
