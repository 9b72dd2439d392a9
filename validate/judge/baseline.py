"""Compares a report with an earlier one: what is worse than it was.

    baseline_report = read(Path("released/report.json"), model)
    result = compare(result, baseline_report, settings)

Parity alone does not show that a headroom halved, or that an artifact doubled in size.
"""

import dataclasses
from collections.abc import Iterable
from pathlib import Path

from records.errors import BadInput
from validate.report import records
from validate.report.records import Baseline, Model, Report, Result
from validate.settings import ValidateConfig

HALVED = 0.5


def read(path: Path, model: Model) -> Report:
    """Return a report of the same model. Raises BadInput if it is of another one."""
    earlier = records.read(path)
    if earlier.model != model:
        fields = [field.name for field in dataclasses.fields(Model)]
        different = [name for name in fields if getattr(earlier.model, name) != getattr(model, name)]
        differences = ", ".join(
            f"{name} {getattr(earlier.model, name)}, here {getattr(model, name)}" for name in different
        )
        raise BadInput(f"baseline {path}: of another model ({differences}). Give a report of this one.")
    return earlier


def check_rows(earlier: Report, path: str, rows: Iterable[str]) -> None:
    """Check that every row that is to be run is in the baseline. Raises BadInput."""
    baseline_rows = {result.name for result in earlier.results}
    missing = [row for row in rows if row not in baseline_rows]
    if missing:
        raise BadInput(
            f'baseline {path}: has no row "{missing[0]}"'
            + (f" nor {len(missing) - 1} others of this run" if len(missing) > 1 else "")
            + ". Give a report with them, or leave them out: --leave-out."
        )


def record(earlier: Report, path: str) -> Baseline:
    """Return the baseline as the new report names it."""
    return Baseline(path, earlier.created, earlier.checkpoint_sha256)


def compare(result: Result, earlier: Report, settings: ValidateConfig) -> Result:
    """Return the result with a warning, or by configuration a failure, for all that is worse than it was."""
    previous = next((candidate for candidate in earlier.results if candidate.name == result.name), None)
    worse = _worse(result, previous, settings) if previous and result.status == "pass" else []
    if not worse:
        return result
    sentences = [f"worse than the baseline: {change}" for change in worse]
    if not settings.baseline_fails:
        return dataclasses.replace(result, warnings=[*result.warnings, *sentences])
    return dataclasses.replace(result, status="fail", outcome="blocking", reason="; ".join(sentences))


def _worse(result: Result, previous: Result, settings: ValidateConfig) -> list[str]:
    changes = []
    headroom, previous_headroom = result.headroom, previous.headroom
    if (
        headroom is not None
        and previous_headroom is not None
        and previous_headroom > 0
        and headroom <= HALVED * previous_headroom
    ):
        changes.append(f"headroom {previous_headroom:.0%} → {headroom:.0%}")
    if result.latency_ms and previous.latency_ms:
        median, previous_median = result.latency_ms.median, previous.latency_ms.median
        if median > settings.baseline_latency * previous_median:
            changes.append(
                f"latency {previous_median:.2f} → {median:.2f} ms ({settings.baseline_latency:g} times allowed)"
            )
    if result.size_bytes and previous.size_bytes and result.size_bytes > settings.baseline_size * previous.size_bytes:
        changes.append(
            f"size {previous.size_bytes / 1e6:.2f} → {result.size_bytes / 1e6:.2f} MB "
            f"({settings.baseline_size:g} times allowed)"
        )
    return changes
