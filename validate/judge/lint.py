"""Reads from manifests what of a TFLite file runs on the fast path of a phone: export/graphs/tflite_lint.py looked.

report = Report(…, lints=lints(artifacts))
"""

from collections.abc import Mapping

from export.artifact import Artifact
from validate.report.records import Lint


def lints(artifacts: Mapping[str, Artifact | None]) -> list[Lint]:
    """Of those that were looked over, by name."""
    return [lint for name, artifact in artifacts.items() if artifact and (lint := _of(name, artifact))]


def _of(name: str, artifact: Artifact) -> Lint | None:
    """None where the manifest has none: another target, or converted before there was one."""
    seen = artifact.lint
    if seen is None:
        return None
    return Lint(
        artifact=name,
        runtime=seen["runtime"],
        operators=seen["operators"],
        in_xnnpack=seen["xnnpack"]["takes"],
        parts=seen["xnnpack"]["parts"],
        on_gpu_list=seen["gpu"]["takes"],
        **{key: len(seen[key]) for key in ("flex", "custom", "int64", "many_axes")},
        sentences=seen["sentences"],
    )
