"""The generated parts of README and docs/: tables from a report, a configuration, and the folders' own lists.

python -m tests.readme         # after `make train export validate`; without a report its table stays as it is
"""

import io
import json
import re
from pathlib import Path

from rich.console import Console

from export.target import find
from measures import tasks
from measures.tolerance import PREPARATION, TABLE, Tolerance
from pipeline import config
from validate import settings
from validate.report import records
from validate.report.terminal import render
from validate.runtimes import runner

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
REPORT = ROOT / "docs" / "report.md"
CONFIGURATION = ROOT / "docs" / "configuration.md"
TOLERANCES = ROOT / "docs" / "tolerances.md"
EXCERPT = (
    "tflite/int8 tflite_runtime",
    "onnx/int8 onnxruntime",
    "tflite/int8 litert xnnpack",
    "tfjs/float32 chromium wasm",
    "tflite/float32 litert_arm64",
    "saved_model/float32 tensorflow onednn",
    "onnx/float32 onnxruntime",
    "torchscript/float32 torch",
)
"""Rows of the table that README shows: artifact and runtime."""


def part(text: str, name: str) -> str:
    """Return what stands between `<!-- name -->` and `<!-- /name -->`."""
    found = re.search(rf"<!-- {name} -->\n(.*?)<!-- /{name} -->", text, re.S)
    assert found, name
    return found[1]


def table(path: Path) -> str:
    """Return what `anywhere validate` prints of that report."""
    terminal = io.StringIO()
    Console(file=terminal, width=100).print(render(records.read(path)), soft_wrap=True)
    lines = "\n".join(line.rstrip() for line in terminal.getvalue().splitlines())
    return f"```\n{lines}\n```\n"


def excerpt(whole: str) -> str:
    """Return a table's head, the rows of `EXCERPT` and the verdict."""
    fence, head, *rows, verdict, _ = whole.splitlines()
    shown = [row for row in rows if " ".join(re.split(r" +pass +", row)[0].split()) in EXCERPT]
    return "\n".join([fence, head, *shown, "…", verdict, fence]) + "\n"


def matrix() -> str:
    """Return which artifact is run where: a row for each target, a column for each runtime."""
    runners = runner.find()
    backends: dict[str, dict[str, None]] = {}
    for one in runners:
        backends.setdefault(one.runtime, {}).update(dict.fromkeys(filter(None, one.backends)))
    heads = [f"{name}<br>{', '.join(ways)}" if ways else name for name, ways in backends.items()]
    rows = [["target", "precisions", *heads], ["---", "---", *[":-:"] * len(heads)]]
    for target in find().values():
        places = {one.runtime for one in runners if one.target == target.name}
        ticks = ["✓" if name in places else "" for name in backends]
        rows.append([f"`{target.name}`", ", ".join(target.sources), *ticks])
    return _markdown(rows)


def fields() -> str:
    """Return every key of the configuration with its default and meaning."""
    rows = [["key", "default", "meaning"], ["---"] * 3]
    for key, default, meaning in [*config.fields(), *settings.fields()]:
        rows.append([f"`{key}`", f"`{json.dumps(default)}`", " ".join(meaning.split())])
    return _markdown(rows)


def tolerances() -> str:
    """Return every tolerance with its reason, precisions that share one together; those of image files last.

    What a task allows by itself, and most do not, is said to be that task's.
    """
    alike: dict[Tolerance, list[str]] = {}
    usual = {precision: tasks.load("classification").tolerances(precision) for precision in TABLE}
    own = {
        f"{precision} ({name})": [limit for limit in task.tolerances(precision) if limit not in usual[precision]]
        for name, task in ((name, tasks.load(name)) for name in tasks.names())
        for precision in TABLE
    }
    for allowed in (TABLE, usual, own, PREPARATION):
        for precision, limits in allowed.items():
            for limit in limits:
                alike.setdefault(limit, []).append(precision)
    rows = [["precision", "measure", "allowed", "unit", "reason"], ["---", "---", "---:", "---", "---"]]
    for limit, precisions in alike.items():
        bound = f"{'≤' if limit.upper else '≥'} {limit.allowed:,g}"
        rows.append([", ".join(precisions), f"`{limit.measure}`", bound, limit.unit, limit.reason])
    return _markdown(rows)


def _markdown(rows: list[list[str]]) -> str:
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def write(page: Path, name: str, content: str) -> None:
    """Put it between `<!-- name -->` and `<!-- /name -->` of a page."""
    text = page.read_text()
    page.write_text(text.replace(f"-->\n{part(text, name)}<!-- /{name}", f"-->\n{content}<!-- /{name}"))


def main() -> None:
    """Write them all."""
    reports = Path("runs").glob("*/report/report.json")
    latest = max(reports, key=lambda path: path.stat().st_mtime, default=None)
    if latest:
        write(REPORT, "table", table(latest))
    else:
        print("runs/*/report/report.json: there is none, so docs/report.md keeps its table")
    write(README, "rows", excerpt(part(REPORT.read_text(), "table")))
    write(README, "matrix", matrix())
    write(CONFIGURATION, "config", fields())
    write(TOLERANCES, "tolerances", tolerances())


if __name__ == "__main__":
    main()
