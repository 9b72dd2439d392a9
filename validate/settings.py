"""The settings of `anywhere validate`: which runtimes must have run, and which refusals the user has accepted.

[validate]
require = "all"
accept = ["tflite/int8_dynamic in tflite_runtime"]
tolerance.int8.sqnr_db = 20
"""

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from measures import tasks
from measures.tolerance import TABLE
from records.errors import BadInput, shortened, unknown
from records.settings import adapter, load_settings, read_toml


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
    only: tuple[str, ...] = ()
    """Rows that are run, and no others. Empty: all."""
    calls: int = 50
    """Calls with one sample whose latency is taken; of a slow runtime fewer."""
    seed: int = 0
    """Seed of the inputs that are made anew for a validation. 0: another one each time, which the report states."""
    decisions: Annotated[int, Field(ge=0)] = 0
    """Held-out samples beyond golden that decisions of integers are judged on, too, at most all that there are."""
    decisions_s: Annotated[float, Field(gt=0, le=3600)] = 30.0
    """Seconds that those may take in one row. Where they would take more, by the time that golden took, it is judged
    on golden alone."""
    tolerance: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """What is allowed instead of the table's number: `{ int8 = { sqnr_db = 20 } }`. Every report says so."""
    baseline_latency: float = 1.5
    """A median latency this many times the baseline's is worse than it."""
    baseline_size: float = 1.05
    """A size this many times the baseline's is worse than it."""
    baseline_fails: bool = False
    """Whether a row that is worse than the baseline's fails. Otherwise it is warned of."""

    def accepts(self, row: str) -> bool:
        """True if the user accepts that the runtime refuses this row's artifact."""
        return any(fnmatchcase(row, pattern) for pattern in self.accept)

    def leaves_out(self, row: str) -> bool:
        """True if the user does not want it run, and knows that the report says so."""
        return any(fnmatchcase(row, pattern) for pattern in self.leave_out)

    def chooses(self, row: str) -> bool:
        """True if it is one of the rows that were asked for."""
        return not self.only or any(fnmatchcase(row, pattern) for pattern in self.only)


def read(path: Path | None, **options: Any) -> ValidateConfig:
    """Return the defaults, overridden by the file's section, then by options. Raises BadInput.

    Empty options are ignored; options that are lists are appended to the file's.
    """
    section = read_toml(path).get("validate", {}) if path else {}
    if not isinstance(section, dict):
        raise BadInput(f"{path}: validate: a section is needed here, not {shortened(repr(section))}. Write [validate].")
    values: dict[str, Any] = dict(section)
    for key, value in options.items():
        if isinstance(value, list) and isinstance(values.get(key, []), list):
            value = [*values.get(key, []), *value]
        if value:
            values[key] = value
    names = [field.name for field in dataclasses.fields(ValidateConfig)]
    config = load_settings(ValidateConfig, values, str(path or "options"), names)
    _check_tolerance(config.tolerance, str(path or "options"))
    return config


def _check_tolerance(tolerance: Mapping[str, Mapping[str, float]], where: str) -> None:
    for precision, measures in tolerance.items():
        if precision not in TABLE:
            raise unknown("precision", precision, TABLE, f"{where}: validate.tolerance")
        for measure, value in measures.items():
            names = [row.measure for row in TABLE[precision]] + tasks.measures(precision)
            if measure not in names:
                raise unknown("measure", measure, names, f"{where}: validate.tolerance.{precision}")
            if not math.isfinite(value) or value <= 0:
                raise BadInput(f"{where}: validate.tolerance.{precision}.{measure} is {value}. Give a positive number.")


def fields() -> list[tuple[str, Any, str]]:
    """Return every field in order: dotted key, default, docstring."""
    properties = adapter(ValidateConfig).json_schema()["properties"]
    return [
        (f"validate.{field.name}", _default(field), properties[field.name]["description"])
        for field in dataclasses.fields(ValidateConfig)
    ]


def _default(item: dataclasses.Field[Any]) -> Any:
    return item.default if item.default_factory is dataclasses.MISSING else item.default_factory()
