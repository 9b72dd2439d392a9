"""An earlier report to compare with: what got worse since.

    before = read(Path("released/report.json"), model)
    result = compare(result, before, settings)

Parity alone does not see that a headroom halved, or that an artifact doubled in size.
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
    """A report of the same model. Raises BadInput."""
    earlier = records.read(path)
    if earlier.model != model:
        fields = [one.name for one in dataclasses.fields(Model)]
        odd = [name for name in fields if getattr(earlier.model, name) != getattr(model, name)]
        what = ", ".join(f"{name} {getattr(earlier.model, name)}, here {getattr(model, name)}" for name in odd)
        raise BadInput(f"baseline {path}: of another model ({what}). Give a report of this one.")
    return earlier


def check_rows(earlier: Report, path: str, wanted: Iterable[str]) -> None:
    """Every row that is to be run is in the baseline. Raises BadInput."""
    known = {result.name for result in earlier.results}
    missing = [row for row in wanted if row not in known]
    if missing:
        raise BadInput(
            f'baseline {path}: has no row "{missing[0]}"'
            + (f" nor {len(missing) - 1} others of this run" if len(missing) > 1 else "")
            + ". Give a report with them, or leave them out: --leave-out."
        )


def record(earlier: Report, path: str) -> Baseline:
    """As the new report names it."""
    return Baseline(path, earlier.created, earlier.checkpoint_sha256)


def compare(result: Result, earlier: Report, settings: ValidateConfig) -> Result:
    """The result with a warning, or by configuration a failure, for all that is worse than it was."""
    before = next((one for one in earlier.results if one.name == result.name), None)
    worse = _worse(result, before, settings) if before and result.status == "pass" else []
    if not worse:
        return result
    said = [f"worse than the baseline: {one}" for one in worse]
    if not settings.baseline_fails:
        return dataclasses.replace(result, warnings=[*result.warnings, *said])
    return dataclasses.replace(result, status="fail", outcome="blocking", reason="; ".join(said))


def _worse(result: Result, before: Result, settings: ValidateConfig) -> list[str]:
    found = []
    room, had = result.headroom, before.headroom
    if room is not None and had is not None and had > 0 and room <= HALVED * had:
        found.append(f"headroom {had:.0%} → {room:.0%}")
    if result.latency_ms and before.latency_ms:
        now, then = result.latency_ms.median, before.latency_ms.median
        if now > settings.baseline_latency * then:
            found.append(f"latency {then:.2f} → {now:.2f} ms ({settings.baseline_latency:g} times allowed)")
    if result.size_bytes and before.size_bytes and result.size_bytes > settings.baseline_size * before.size_bytes:
        found.append(
            f"size {before.size_bytes / 1e6:.2f} → {result.size_bytes / 1e6:.2f} MB "
            f"({settings.baseline_size:g} times allowed)"
        )
    return found
