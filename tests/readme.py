"""README's generated parts: the table from a report, the fields from the configuration.

python -m tests.readme         # after `make train export validate`
"""

import io
import json
import re
from pathlib import Path

from rich.console import Console

from pipeline import config
from validate import settings
from validate.report import records
from validate.report.terminal import render

README = Path(__file__).parents[1] / "README.md"


def part(text: str, name: str) -> str:
    """What stands between `<!-- name -->` and `<!-- /name -->`."""
    found = re.search(rf"<!-- {name} -->\n(.*?)<!-- /{name} -->", text, re.S)
    assert found, name
    return found[1]


def table(path: Path) -> str:
    """What `anywhere validate` prints of that report."""
    terminal = io.StringIO()
    Console(file=terminal, width=100).print(render(records.read(path)), soft_wrap=True)
    lines = "\n".join(line.rstrip() for line in terminal.getvalue().splitlines())
    return f"```\n{lines}\n```\n"


def fields() -> str:
    """Every key with its default and meaning."""
    rows = ["| key | default | meaning |", "| --- | --- | --- |"]
    for key, default, meaning in [*config.fields(), *settings.fields()]:
        rows.append(f"| `{key}` | `{json.dumps(default)}` | {' '.join(meaning.split())} |")
    return "\n".join(rows) + "\n"


def main() -> None:
    """Write them into README.md."""
    text = README.read_text()
    latest = max(Path("runs").glob("*/report/report.json"), key=lambda path: path.stat().st_mtime)
    for name, content in (("table", table(latest)), ("config", fields())):
        before, after = text.split(f"<!-- {name} -->\n")
        _, rest = after.split(f"<!-- /{name} -->", 1)
        text = f"{before}<!-- {name} -->\n{content}<!-- /{name} -->{rest}"
    README.write_text(text)


if __name__ == "__main__":
    main()
