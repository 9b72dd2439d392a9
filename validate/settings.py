"""What a release asks for: which runtimes must have run, and which refusals the user has accepted.

[validate]
require = "all"
accept = ["tflite/int8_dynamic in tflite_runtime"]
"""

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Literal

from pydantic import ConfigDict

from export.artifact import adapter, load_settings, read_toml


@dataclass(frozen=True)
class ValidateConfig:
    """The section `[validate]` of a configuration file."""

    __pydantic_config__ = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    require: Literal["installable", "all"] = "installable"
    """installable: every runtime that can be installed without root; Chromium and ARM64 count where the machine has
    them. all: a runtime that is absent is a failure."""
    accept: tuple[str, ...] = ()
    """Rows whose runtime may refuse the artifact, such as "tflite/int8 in tflite_runtime" (* stands for anything).
    Wrong numbers are never accepted."""
    leave_out: tuple[str, ...] = ()
    """Rows that are not run, such as "* in chromium webgpu"."""

    def accepts(self, row: str) -> bool:
        """Whether a refusal is fine with the user."""
        return any(fnmatchcase(row, pattern) for pattern in self.accept)

    def leaves_out(self, row: str) -> bool:
        """Whether the user does not want it run."""
        return any(fnmatchcase(row, pattern) for pattern in self.leave_out)


def read(path: Path | None, require: str, accept: Iterable[str], leave_out: Iterable[str]) -> ValidateConfig:
    """Defaults, then the file's section, then options (empty ones say nothing). Raises BadInput."""
    values: dict[str, Any] = dict(read_toml(path).get("validate", {})) if path else {}
    if require:
        values["require"] = require
    for key, given in (("accept", list(accept)), ("leave_out", list(leave_out))):
        if given:
            values[key] = [*values.get(key, []), *given]
    names = [field.name for field in dataclasses.fields(ValidateConfig)]
    return load_settings(ValidateConfig, values, str(path or "options"), names)


def fields() -> list[tuple[str, Any, str]]:
    """Every field in order: dotted key, default, docstring."""
    properties = adapter(ValidateConfig).json_schema()["properties"]
    return [
        (f"validate.{field.name}", field.default, properties[field.name]["description"])
        for field in dataclasses.fields(ValidateConfig)
    ]
