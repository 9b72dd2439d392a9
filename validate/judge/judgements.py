"""A measured number against its limit, as a record and in words."""

import numpy as np

from measures.tolerance import Tolerance
from validate.report.records import Judgement


def judgement(tolerance: Tolerance, measured: float) -> Judgement:
    """Return the judgement of a measured number against its limit; both have the measure's own unit."""
    return Judgement(
        measure=tolerance.measure,
        measured=measured,
        allowed=tolerance.allowed,
        upper=tolerance.upper,
        headroom=tolerance.headroom(measured),
        within=tolerance.within(measured),
        reason=tolerance.reason,
        source=tolerance.source,
        by_default=tolerance.instead_of.allowed if tolerance.instead_of else None,
    )


def wording(judgement: Judgement) -> str:
    """Return what was measured, and what is allowed, in words."""
    measured = "NaN" if judgement.measured is None or np.isnan(judgement.measured) else f"{judgement.measured:.4g}"
    bound = "at most" if judgement.upper else "at least"
    return f"{judgement.measure} {measured} ({bound} {judgement.allowed:.4g} allowed)"
