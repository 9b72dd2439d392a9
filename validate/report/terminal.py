"""Shows the report on a terminal: a table, worst first; a sentence for each failure; what a pass should not hide.

    Console().print(render(report), soft_wrap=True)

The table and the pictures fit 100 columns; sentences are left to the terminal to wrap, so that they can be searched.
"""

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
"""Size of the picture of SQNR along depth, in characters."""
BARS = " ▁▂▃▄▅▆▇█"


def render(report: Report) -> RenderableType:
    """Return the whole report, the verdict last: where the eye is when it stops scrolling."""
    tie = sentences.ties(report)
    notes = [
        *sentences.warnings(report),
        *sentences.slow(report),
        *sentences.kept(report),
        *sentences.overrides(report),
        *([tie] if tie else []),
    ]
    return Group(
        _table(report),
        *(_sentence(sentence, "bold") for sentence in [*sentences.failures(report), *sentences.unproved(report)]),
        *(line for localisation in report.localisations for line in _localised(report, localisation)),
        *(_sentence(sentence, "bold") for sentence in sentences.delegated(report)),
        *(_sentence(note, "bold yellow") for note in notes),
        Text(sentences.verdict(report), "green" if report.verdict == "pass" else "bold red"),
    )


def _table(report: Report) -> Table:
    rows = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    for name in ("artifact", "runtime", "status"):
        rows.add_column(name, no_wrap=True)
    for name in sentences.heads(report, "SQNR"):
        rows.add_column(name, justify="right", no_wrap=True)
    for result in sentences.ordered(report.results):
        if result.outcome == "excused":  # said once, below
            continue
        _add(rows, report, sentences.figures(result), _style(result))
    for prepared in sentences.prepared(report):
        _add(rows, report, prepared.figures, STYLES["pass" if prepared.within else "fail"])
    return rows


def _add(rows: Table, report: Report, figures: sentences.Figures, style: str) -> None:
    status = Text(figures.status, style)
    rows.add_row(figures.artifact, figures.where, status, *sentences.numbers(report, figures))


def _style(result: Result) -> str:
    return "yellow" if not result.blocking and result.status != "pass" else STYLES[result.status]


def _sentence(sentence: sentences.Sentence, style: str) -> Text:
    """Return a sentence in which the subject and the commands stand out."""
    text = Text.assemble((f"{sentence.subject}: ", style), sentence.text)
    for number, (word, command) in enumerate(sentence.steps):
        text.append(f"{',' if number else ''} {word}: ").append(command, "cyan")
    return text


def _localised(report: Report, localisation: Localisation) -> list[Text]:
    """Return the sentence on an artifact's layers and, only if something went wrong, the picture."""
    failed = any(row.blocking for row in report.results if sentences.artifact(row) == localisation.artifact)
    lines = depth(localisation) if localisation.culprit or failed else []
    return [_sentence(sentences.culprit(localisation), "bold"), *map(Text, lines)]


def depth(localisation: Localisation) -> list[str]:
    """Return SQNR along depth as bars, the culprit marked below.

    A bar is a layer or, for deep networks, the least of a few.
    """
    values = [layer.sqnr_db or 0.0 for layer in localisation.layers]
    if not values:
        return []
    group_size = math.ceil(len(values) / WIDTH)
    columns = [min(values[start : start + group_size]) for start in range(0, len(values), group_size)]
    top = max((value for value in columns if value < sentences.EQUAL_DB), default=sentences.EQUAL_DB) or 1.0
    eighths = [round(min(max(value / top, 0), 1) * 8 * HEIGHT) for value in columns]
    lines = []
    for row in reversed(range(HEIGHT)):
        label = f"{top:4.0f} dB" if row == HEIGHT - 1 else "   0 dB" if row == 0 else " " * 7
        lines.append(f"{label} " + "".join(BARS[min(max(height - 8 * row, 0), 8)] for height in eighths))
    faulty = localisation.culprit
    index = next(
        (position for position, layer in enumerate(localisation.layers) if faulty and layer.module == faulty.module),
        None,
    )
    if faulty and index is not None:
        lines.append(" " * 8 + _marked(index // group_size, faulty.module))
    return lines


def _marked(column: int, module: str) -> str:
    """Return a mark at a column of the picture and, on the side that has room, the module."""
    name = module if len(module) <= WIDTH // 2 else "…" + module[1 - WIDTH // 2 :]
    after = f"{'':{column}}▲ {name}"
    return after if len(after) <= WIDTH else f"{name:>{column - 1}} ▲"
