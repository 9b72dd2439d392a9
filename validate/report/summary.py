"""Writes report.md for a pull request's summary, and junit.xml for the list of tests that a build server shows.

Path("report.md").write_text(markdown(report), encoding="utf-8")
Path("junit.xml").write_text(junit(report), encoding="utf-8")
"""

import re
from collections.abc import Iterable
from xml.etree.ElementTree import Element

from validate.report import sentences
from validate.report.html import tag, xml
from validate.report.records import Report, Result

_SPECIAL = re.compile(r"([\\`*_\[\]<>|~&]|^[#+-])")


def markdown(report: Report) -> str:
    """Return the report in Markdown: the verdict; what failed, with what to type; every row."""
    rows = sentences.ordered(report.results)
    failed = [result for result in rows if result.blocking]
    prepared = [item.figures for item in sentences.prepared(report)]
    tie = sentences.ties(report)
    notes = [
        *sentences.warnings(report),
        *sentences.slow(report),
        *sentences.overrides(report),
        *([tie] if tie else []),
        *sentences.unproved(report),
    ]
    notes += sentences.delegated(report)
    parts = [
        f"## {'✅' if report.verdict == 'pass' else '❌'} {_plain(report.run)}: {_plain(sentences.verdict(report))}"
    ]
    if failed:
        parts += [_table(report, map(sentences.figures, failed)), *(_failure(report, result) for result in failed)]
    if report.localisations:
        parts.append("\n".join(_item(sentences.culprit(layers)) for layers in report.localisations))
    if notes:
        parts.append("\n".join(map(_item, notes)))
    every = _table(report, [*map(sentences.figures, rows), *prepared])
    parts.append(_folded(f"All {len(rows)} rows, worst first", every))
    return "\n\n".join(parts) + "\n"


def _failure(report: Report, result: Result) -> str:
    """Return a failure, folded: its sentence, and a block of commands to copy."""
    sentence, script = sentences.failure(report, result), sentences.script(report, result)
    lines = [command if word == "Next" else f"{command}  # {word}" for word, command in sentence.steps]
    lines += [f"{script}  # this alone"] if script and script not in lines else []
    commands = "\n\n```sh\n{}\n```".format("\n".join(lines)) if lines else ""
    return _folded(sentence.subject, _plain(sentence.text) + commands)


def _folded(title: str, inside: str) -> str:
    """Return text that is folded under a title. Within HTML, Markdown needs empty lines around it."""
    return f"<details><summary>{_html(title)}</summary>\n\n{inside}\n\n</details>"


def _item(sentence: sentences.Sentence) -> str:
    return f"- **{_plain(sentence.subject)}**: {_plain(sentence.text)}"


def _table(report: Report, rows: Iterable[sentences.Figures]) -> str:
    head = ["artifact", "runtime", "status", *sentences.heads(report, "SQNR")]
    lines = [head, ["---"] * 3 + ["---:"] * (len(head) - 3)]
    for figures in rows:
        lines.append([figures.artifact, figures.where, figures.status, *sentences.numbers(report, figures)])
    return "\n".join(
        "| " + " | ".join(cell if number == 1 else _plain(cell) for cell in line) + " |"
        for number, line in enumerate(lines)
    )


def _plain(text: str) -> str:
    """Return text that Markdown shows as it is: also in a cell, which a pipe or a new line would end."""
    return _SPECIAL.sub(r"\\\1", " ".join(text.split()))


def _html(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def junit(report: Report) -> str:
    """Return JUnit XML with a test for each row, whose time is the row's latency, for a build server's trends.

    The elements that Jenkins and GitHub's actions read: https://github.com/testmoapp/junitxml.
    """
    cases = [_case(report, result) for result in sentences.ordered(report.results)]
    counts: dict[str, float | str] = {
        "tests": len(cases),
        "failures": sum(case.find("failure") is not None for case in cases),
        "errors": sum(case.find("error") is not None for case in cases),
        "time": f"{sum(map(_seconds, report.results)):.6f}",
    }
    stamp = report.created.partition("+")[0]
    attributes = {"name_": f"anywhere {report.run}", "timestamp": stamp}
    skipped = sum(case.find("skipped") is not None for case in cases)
    suite = tag("testsuite", _properties(report), *cases, **attributes, **counts, skipped=skipped)
    return xml(tag("testsuites", suite, name_="anywhere", **counts))


def _properties(report: Report) -> Element:
    values = {"verdict": report.verdict, "checkpoint_sha256": report.checkpoint_sha256, "model": report.model.name}
    return tag("properties", *(tag("property", name_=name, value=value) for name, value in values.items()))


def _case(report: Report, result: Result) -> Element:
    """Return the test of a row: no result is an error, a wrong one a failure, an excused one was skipped."""
    script = sentences.script(report, result)
    lines = [*result.warnings, f"again: {result.command}", *([f"alone: {script}"] if script else [])]
    if result.log:
        lines.append(f"log: runs/{report.run}/{result.log}")
    outcome = None
    if result.blocking:
        kind = "failure" if result.status == "fail" else "error"
        outcome = tag(kind, str(sentences.failure(report, result)), message=result.reason, type=result.status)
    elif result.status != "pass":
        outcome = tag("skipped", message=result.reason)
    return tag(
        "testcase",
        outcome,
        tag("system-out", "\n".join(lines)),
        name_=result.where,
        classname=f"{report.run}.{sentences.artifact(result)}",
        time=f"{_seconds(result):.6f}",
    )


def _seconds(result: Result) -> float:
    return result.latency_ms.median / 1e3 if result.latency_ms else 0.0
