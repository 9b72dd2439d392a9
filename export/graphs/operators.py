"""The error for operators that a target cannot express, and the PyTorch module that each comes from.

    raise inexpressible("TFLite", {"Col2Im": "head.fold"})

Runs inside toolchains: the standard library only; nodes are ONNX's.
"""

import ast
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

SCOPES = "pkg.torch.onnx.name_scopes"
"""Key under which PyTorch's exporter writes, beside every ONNX node, the module path, then the ATen node."""


class Inexpressible(ValueError):
    """The error that a format cannot hold this model. export/convert.py adds the targets that can."""


def inexpressible(format_name: str, operators: Mapping[str, str]) -> Inexpressible:
    """Return the error for operators that a format lacks: name → path of the module it comes from; empty: unknown."""
    named = ", ".join(f"{name} (in module {module})" if module else name for name, module in operators.items())
    return Inexpressible(f"{format_name} cannot express {named}.")


def module_of(node: Any) -> str:
    """Return the module of an ONNX node as the user's model calls it, `features.4.block.2`; empty: not recorded."""
    recorded = next((item.value for item in node.metadata_props if item.key == SCOPES), "")
    if not recorded:
        return ""
    scopes = ast.literal_eval(recorded)[:-1]
    return user_path(scopes[-1] if scopes else "")


def first_modules(model: Any) -> dict[str, str]:
    """Return, for every kind of operator of an ONNX model, the first module it comes from; for `details["modules"]`."""
    modules_by_operator: dict[str, str] = {}
    for node in model.graph.node:
        if module := module_of(node):
            modules_by_operator.setdefault(node.op_type, module)
    return modules_by_operator


def modules(names: Iterable[str], artifact: Path) -> dict[str, str]:
    """Return operators with their modules, as the manifest beside an artifact has them, whether upper or lower case."""
    record = json.loads((artifact.parent / "manifest.json").read_text(encoding="utf-8"))
    modules_by_operator = {name.lower(): module for name, module in record["details"].get("modules", {}).items()}
    return {name: modules_by_operator.get(name.lower(), "") for name in names}


def user_path(path: str) -> str:
    """Return a module's path in the user's model: without the project's own module around it, which normalises."""
    return path.removeprefix("model").removeprefix(".")
