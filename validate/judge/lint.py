"""Reads from manifests what of a TFLite file runs on the fast path of a phone: export/graphs/tflite_lint.py found it.

report = Report(…, lints=lints(artifacts))
"""

from collections.abc import Mapping

from export.artifact import Artifact
from validate.report.records import Lint


def lints(artifacts: Mapping[str, Artifact | None]) -> list[Lint]:
    """Return the lints of the artifacts that have one."""
    return [lint for name, artifact in artifacts.items() if artifact and (lint := _of(name, artifact))]


def _of(name: str, artifact: Artifact) -> Lint | None:
    """Return an artifact's lint; None: it is of another target, or was converted before there were any."""
    lint = artifact.lint
    if lint is None:
        return None
    return Lint(
        artifact=name,
        runtime=lint["runtime"],
        operators=lint["operators"],
        in_xnnpack=lint["xnnpack"]["takes"],
        parts=lint["xnnpack"]["parts"],
        on_gpu_list=lint["gpu"]["takes"],
        **{key: len(lint[key]) for key in ("flex", "custom", "int64", "many_axes")},
        sentences=lint["sentences"],
    )
