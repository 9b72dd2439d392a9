"""Proves parity: every artifact in every runtime, planned, measured, judged and told, each step over all rows.

report = check(run, runners, Options(threads=2, progress=print))
"""

import dataclasses
import os
import platform
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from export import interfaces
from export.run import Run
from pipeline.checkpoint import Checkpoint
from records.errors import AGAIN, BadInput
from records.golden import PATTERNS, Proof
from records.tensor import Tensor, preparations
from validate import fresh, further
from validate.judge import admission, baseline, fast
from validate.judge.interface import misfits as find_misfits
from validate.judge.interface import remarks as find_remarks
from validate.judge.judge import judge
from validate.judge.lint import lints
from validate.localise import failed, localise
from validate.measure import Options, measure_all
from validate.plan import asked, plan
from validate.report.records import SCHEMA_VERSION, Model, Report, verdict
from validate.runtimes.runner import Runner
from validate.settings import ValidateConfig
from workers import registry
from workers.executor import Executor, Local
from workers.toolchain import Toolchain

UNPREPARED = (
    "the checkpoint is from before image files were kept in it: that an app prepares one as training does is not "
    f"proved. {AGAIN}."
)
UNPATTERNED = (
    "the checkpoint is from before patterns were kept in it (black, white, checkerboard, noise, a shifted image): that "
    f"artifacts agree on inputs unlike golden's is not proved. {AGAIN}."
)


def unproved(proof: Proof, inputs: Sequence[Tensor]) -> list[str]:
    """Return what this proof cannot show, in sentences: from an older checkpoint, or where PyTorch gives no numbers."""
    sentences = [UNPREPARED] if proof.probes is None and preparations(inputs) else []
    if proof.patterns is None:
        return [*sentences, UNPATTERNED]
    floors = proof.patterns.floors.values()
    silent = [name for name, *each in zip(PATTERNS, *floors, strict=False) if not np.isfinite(each).all()]
    return sentences + [
        f"PyTorch itself gives values that are no numbers on probe {name}, so nothing is proved there"
        for name in silent
    ]


def check(
    run: Run,
    runners: Sequence[Runner],
    options: Options,
    toolchains: Mapping[str, Toolchain] | None = None,
    settings: ValidateConfig | None = None,
    earlier: Path | None = None,
    layers: bool = False,
    executor: Executor | None = None,
) -> Report:
    """Return the report of all that was ever exported in this run, in every runtime of this machine.

    earlier: a report to compare with. layers: also look for the layer at fault in every artifact that was run.

    Raises BadInput for artifacts that cannot be trusted, and where nothing could be judged.
    """
    settings = settings or ValidateConfig()
    options = dataclasses.replace(options, further_s=settings.decisions_s)
    toolchains = registry.find() if toolchains is None else toolchains
    expected = run.expected()
    if not expected:
        raise BadInput(f"run {run.name}: nothing was exported. Export first: anywhere export {run.name}.")
    proof = run.checkpoint.proof()
    warnings = admission.check(run, proof.golden) + unproved(proof, run.checkpoint.inputs) + trusted(run.checkpoint)
    conversions = asked(expected, runners, toolchains, settings)
    artifacts = {name: run.artifact(name) if run.holds(name) else None for name in conversions}
    misfits: dict[str, list[str]] = {}
    remarks: dict[str, list[str]] = {}
    for name, artifact in artifacts.items():
        if artifact:
            interface = interfaces.read(artifact)
            admission.check_provenance(run, artifact, interface)
            misfits[name] = find_misfits(artifact, run.checkpoint, interface)
            remarks[name] = find_remarks(artifact, interface)
    settings = dataclasses.replace(settings, seed=fresh.seed_of(settings.seed))
    inputs, silent = fresh.answered(run, proof.golden, settings.seed, toolchains, options.threads)
    proof, warnings = dataclasses.replace(proof, fresh=inputs), warnings + silent
    rows = plan(run, artifacts, runners, toolchains, settings, misfits, remarks)
    model = _model(run)
    baseline_report = baseline.read(earlier, model) if earlier else None
    if baseline_report:
        names = [row.name for row in rows if row.place and not settings.leaves_out(row.name)]
        baseline.check_rows(baseline_report, str(earlier), names)
    with further.answered(run, rows, settings.decisions, toolchains, options.threads) as (more, told):
        proof, warnings = dataclasses.replace(proof, further=more), warnings + told
        measurements = measure_all(run, rows, proof, options, executor or Local())
    results = [judge(row, measurement, proof) for row, measurement in zip(rows, measurements, strict=True)]
    results = fast.compared(run.checkpoint.task, results, measurements, proof)
    if baseline_report:
        results = [baseline.compare(result, baseline_report, settings) for result in results]
    results = failed.explained(run, results, toolchains)
    artifact_names = list(
        dict.fromkeys(f"{result.target}/{result.precision}" for result in results if result.status != "not_run")
    )
    return Report(
        schema_version=SCHEMA_VERSION,
        run=run.name,
        verdict=verdict(results),
        checkpoint_sha256=run.checkpoint.sha256,
        model=model,
        task=run.checkpoint.task,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        machine={
            "platform": platform.platform(),
            "processor": _processor(),
            "cores": os.cpu_count(),
            "threads": options.threads,
        },
        settings={
            key: list(value) if isinstance(value, tuple) else value
            for key, value in dataclasses.asdict(settings).items()
        },
        warnings=warnings,
        baseline=baseline.record(baseline_report, str(earlier)) if baseline_report else None,
        results=results,
        localisations=localise.localise_all(run, artifact_names, toolchains, options.progress) if layers else [],
        lints=lints(artifacts),
    )


def trusted(checkpoint: Checkpoint) -> list[str]:
    """Return a warning where the weights came out of a pickle that was read as such."""
    loaded = checkpoint.loaded or {}
    if not loaded.get("trusted"):
        return []
    return [
        f"its weights were read from {loaded['file']} as a pickle, which runs its code (--trust). Save them as a "
        "state_dict, and adopt them without."
    ]


def _model(run: Run) -> Model:
    checkpoint = run.checkpoint
    return Model(
        checkpoint.model_name,
        list(checkpoint.labels),
        {tensor.name: list(tensor.shape) for tensor in checkpoint.inputs},
        {tensor.name: list(tensor.shape) for tensor in checkpoint.outputs},
    )


def _processor() -> str | None:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or None
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), None)
