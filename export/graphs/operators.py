"""Operators that a target cannot express, and the PyTorch module they come from.

    raise inexpressible("TFLite", {"Col2Im": "head.fold"})

Runs inside toolchains: the standard library only; nodes are ONNX's.
"""

import ast
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

SCOPES = "pkg.torch.onnx.name_scopes"
"""What PyTorch's exporter writes beside every ONNX node: the module path, then the ATen node."""


class Inexpressible(ValueError):
    """A format cannot hold this model. export/convert.py adds the targets that can."""


def inexpressible(format_name: str, operators: Mapping[str, str]) -> Inexpressible:
    """For operators the format does not have: name → path of the module it comes from; empty: unknown."""
    named = ", ".join(f"{one} (in module {where})" if where else one for one, where in operators.items())
    return Inexpressible(f"{format_name} cannot express {named}.")


def module_of(node: Any) -> str:
    """`features.4.block.2` for an ONNX node, as the user's model calls it; empty where the exporter did not say."""
    found = next((item.value for item in node.metadata_props if item.key == SCOPES), "")
    if not found:
        return ""
    scopes = ast.literal_eval(found)[:-1]
    return user_path(scopes[-1] if scopes else "")


def first_modules(model: Any) -> dict[str, str]:
    """For every kind of operator of an ONNX model the first module it comes from; for `details["modules"]`."""
    found: dict[str, str] = {}
    for node in model.graph.node:
        if module := module_of(node):
            found.setdefault(node.op_type, module)
    return found


def modules(names: Iterable[str], artifact: Path) -> dict[str, str]:
    """Operators with the modules that the manifest beside an artifact says, where another format calls them alike."""
    record = json.loads((artifact.parent / "manifest.json").read_text())
    said = {name.lower(): module for name, module in record["details"].get("modules", {}).items()}
    return {name: said.get(name.lower(), "") for name in names}


def user_path(path: str) -> str:
    """Without our own module around the user's, which normalises."""
    return path.removeprefix("model").removeprefix(".")
