"""Reads what a file says of itself in constants, without running it: its imports may live in another environment.

constants(Path("pipeline/tasks/detection.py"))["DEFAULTS"]
"""

import ast
import json
import re
from contextlib import suppress
from pathlib import Path
from typing import Any


def constants(file: Path) -> dict[str, Any]:
    """Return the upper-case literals that a file assigns at its top level, read without running it.

    Python: `NAME = literal`; JavaScript: `export const NAME = JSON;` on one line.
    """
    source, parse = file.read_text(encoding="utf-8"), json.loads if file.suffix == ".mjs" else ast.literal_eval
    if file.suffix == ".mjs":
        values = dict(re.findall(r"^export const ([A-Z_]+) = (.+);$", source, re.MULTILINE))
    else:
        values = {
            statement.targets[0].id: statement.value
            for statement in ast.parse(source).body
            if isinstance(statement, ast.Assign)
            and isinstance(statement.targets[0], ast.Name)
            and statement.targets[0].id.isupper()
        }
    literals = {}
    for name, value in values.items():
        with suppress(ValueError):
            literals[name] = parse(value)
    return literals
