"""The table of the zoo as Markdown, from the rows that are there.

Path("docs/zoo.md").write_text(render(rows, 58))
"""

from collections.abc import Sequence

from benchmarks.zoo.row import RUNTIMES, TARGETS, Row

EQUAL_DB = 300.0
"""validate's number for equal arrays."""
REASON = 240
"""Characters of a problem that are shown."""
INTRODUCTION = """\
# The zoo

Networks that nobody tuned the converters for, with random weights that bear a signal, each exported and validated by
the project's own commands in float32: `make zoo` writes this page.

- **made by**: the way to the SavedModel, by its manifest; TFLite and TF.js are made from it.
- **transposes**: operators of the SavedModel's graph that only turn axes.
- **floor**: SQNR in dB of PyTorch's float32 against float64, on the same images. Runtimes: SQNR in dB against PyTorch.
- **green**: every target was made, for any batch, and every runtime passed `anywhere validate`, probes included; how an
  app prepares image files is not judged here, for random weights can make much of the 1/255 that rounding leaves.
"""


def render(rows: Sequence[Row], known: int) -> str:
    """Return the page. known: how many networks there are, run or not."""
    green = sum(row.green for row in rows)
    summary = f"**{green} of {len(rows)} green**" + (f"; {known - len(rows)} not run" if known > len(rows) else "")
    heads = ["network", "of", "parameters", "px", "made by", *(f"{target} s" for target in TARGETS), "transposes"]
    heads += ["floor", *RUNTIMES.values(), "status"]
    rule = ["---", "---", "---:", "---:", "---", *["---:"] * (len(TARGETS) + 2 + len(RUNTIMES)), "---"]
    lines = [heads, rule, *map(cells, rows)]
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return f"{INTRODUCTION}\n{summary}\n\n{table}\n\n{versions(rows)}\n"


def cells(row: Row) -> list[str]:
    """Return one line of the table."""
    return [
        row.name,
        row.source,
        f"{row.parameters / 1e6:.2f} M" if row.parameters else "",
        str(row.size),
        row.way,
        *(f"{row.seconds[target]:.1f}" if target in row.seconds else "" for target in TARGETS),
        "" if row.transposes is None else str(row.transposes),
        decibels(row.floor_db),
        *(decibels(row.sqnr_db.get(name)) for name in RUNTIMES),
        status(row),
    ]


def decibels(ratio: float | None) -> str:
    """Return a whole number; empty for None."""
    if ratio is None:
        return ""
    return "equal" if ratio >= EQUAL_DB else f"{ratio:.0f}"


def status(row: Row) -> str:
    """Return green, or the first problem as one line that a Markdown cell can hold."""
    if row.green:
        return "green"
    text = " ".join(row.problems[0].split()).replace("|", "\\|").replace("<", "&lt;")
    text = text if len(text) <= REASON else text[: REASON - 1].rstrip() + "…"
    more = len(row.problems) - 1
    return f"{text} (and {more} more)" if more else text


def versions(rows: Sequence[Row]) -> str:
    """Return package and runtime that the rows were made with; several if the rows differ."""
    found: dict[str, list[str]] = {}
    for row in rows:
        for name, number in row.versions.items():
            if number and number not in found.setdefault(name, []):
                found[name].append(number)
    named = {RUNTIMES.get(name, name): " / ".join(numbers) for name, numbers in found.items()}
    return f"Versions: {'; '.join(f'{name} {numbers}' for name, numbers in named.items())}."
