"""The report on a terminal: a table, worst first; a sentence for each failure; what a pass should not hide.

    Console().print(render(report), soft_wrap=True)

The table and the pictures fit 100 columns; sentences are left to the terminal to wrap, so that they can be searched.
"""

import dataclasses
import math

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from validate.report import sentences
from validate.report.records import Localisation, Report, Result, Status

STYLES: dict[Status, str] = {
    "pass": "green",
    "fail": "bold red",
    "error": "bold red",
    "refused": "red",
    "not_run": "red",
}
WIDTH, HEIGHT = 88, 4
"""Of the picture of SQNR along depth, in characters."""
BARS = " ▁▂▃▄▅▆▇█"


def render(report: Report) -> RenderableType:
    """All of it, the verdict last: where the eye is when it stops scrolling."""
    tie = sentences.ties(report)
    notes = [
        *sentences.warnings(report),
        *sentences.kept(report),
        *sentences.overrides(report),
        *([tie] if tie else []),
    ]
    return Group(
        _table(report),
        *(_said(one, "bold") for one in [*sentences.failures(report), *sentences.unproved(report)]),
        *(line for one in report.localisations for line in _localised(report, one)),
        *(_said(one, "bold") for one in sentences.delegated(report)),
        *(_said(one, "bold yellow") for one in notes),
        Text(sentences.verdict(report), "green" if report.verdict == "pass" else "bold red"),
    )


def _table(report: Report) -> Table:
    rows = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    for name in ("artifact", "runtime", "status"):
        rows.add_column(name, no_wrap=True)
    for name in ("SQNR", "max |d|", "agree", sentences.metric_name(report), "ms", "MB", "room"):
        rows.add_column(name, justify="right", no_wrap=True)
    for result in sentences.ordered(report.results):
        if result.outcome == "excused":  # said once, below
            continue
        _add(rows, sentences.figures(result), _style(result))
    for one in sentences.prepared(report):
        _add(rows, one.figures, STYLES["pass" if one.within else "fail"])
    return rows


def _add(rows: Table, figures: sentences.Figures, style: str) -> None:
    artifact, where, status, *numbers = dataclasses.astuple(figures)
    rows.add_row(artifact, where, Text(status, style), *numbers)


def _style(result: Result) -> str:
    return "yellow" if not result.blocking and result.status != "pass" else STYLES[result.status]


def _said(one: sentences.Said, style: str) -> Text:
    """The subject stands out, and so does what to type."""
    text = Text.assemble((f"{one.subject}: ", style), one.text)
    for number, (word, command) in enumerate(one.steps):
        text.append(f"{',' if number else ''} {word}: ").append(command, "cyan")
    return text


def _localised(report: Report, one: Localisation) -> list[Text]:
    """The picture only of what went wrong."""
    failed = any(row.blocking for row in report.results if sentences.artifact(row) == one.artifact)
    lines = depth(one) if one.culprit or failed else []
    return [_said(sentences.culprit(one), "bold"), *map(Text, lines)]


def depth(localisation: Localisation) -> list[str]:
    """SQNR along depth as bars, one a layer or, of deep networks, the least of a few; the culprit marked below."""
    values = [layer.sqnr_db or 0.0 for layer in localisation.layers]
    if not values:
        return []
    each = math.ceil(len(values) / WIDTH)
    columns = [min(values[start : start + each]) for start in range(0, len(values), each)]
    top = max((value for value in columns if value < sentences.EQUAL_DB), default=sentences.EQUAL_DB) or 1.0
    eighths = [round(min(max(value / top, 0), 1) * 8 * HEIGHT) for value in columns]
    lines = []
    for row in reversed(range(HEIGHT)):
        label = f"{top:4.0f} dB" if row == HEIGHT - 1 else "   0 dB" if row == 0 else " " * 7
        lines.append(f"{label} " + "".join(BARS[min(max(height - 8 * row, 0), 8)] for height in eighths))
    found = localisation.culprit
    place = next((at for at, layer in enumerate(localisation.layers) if found and layer.module == found.module), None)
    if found and place is not None:
        lines.append(" " * 8 + _marked(place // each, found.module))
    return lines


def _marked(column: int, module: str) -> str:
    """A mark at a column of the picture, and beside it, on the side that has room, the module."""
    name = module if len(module) <= WIDTH // 2 else "…" + module[1 - WIDTH // 2 :]
    after = f"{'':{column}}▲ {name}"
    return after if len(after) <= WIDTH else f"{name:>{column - 1}} ▲"
