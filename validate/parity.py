"""Every artifact in every runtime on the golden inputs: first everything is measured, then judged.

report = check(run, runners, threads=2, progress=print)
"""

import dataclasses
import os
import platform
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from export.artifact import Artifact
from export.run import Run
from pipeline.checkpoint import Checkpoint
from records.errors import BadInput
from records.golden import PATTERN, PATTERNS
from records.tensor import Arrays
from validate.judge import admission, baseline
from validate.judge.judge import Row, judge
from validate.judge.lint import lints
from validate.localise import localise
from validate.preparation.prepare import prepare_probes
from validate.report.records import Model, Report, Result, verdict
from validate.runtimes import programs
from validate.runtimes.runner import Runner
from validate.settings import ValidateConfig
from workers import registry
from workers.toolchain import Toolchain
from workers.worker import Worker, WorkerFailed

LEFT_OUT = "left out by the configuration."
UNPREPARED = (
    "the checkpoint is from before image files were kept in it: that an app prepares one as training does is not "
    "proved. Train again: anywhere train --force."
)

UNPATTERNED = (
    "the checkpoint is from before patterns were kept in it (black, white, checkerboard, noise, a shifted image): that "
    "artifacts agree on inputs unlike golden's is not proved. Train again: anywhere train --force."
)


@dataclass(frozen=True)
class Proof:
    """What PyTorch gave: all that a row is judged by."""

    golden: Arrays
    probes: Arrays
    """Of image files; empty: the checkpoint has none."""
    patterns: Arrays
    """Likewise."""

    @classmethod
    def of(cls, checkpoint: Checkpoint) -> "Proof":
        """Read it."""
        return cls(checkpoint.golden(), checkpoint.probes(), checkpoint.patterns())

    @property
    def missing(self) -> list[str]:
        """What it cannot prove: of an older checkpoint, or where PyTorch itself gives no numbers."""
        lacking = ((self.probes, UNPREPARED), (self.patterns, UNPATTERNED))
        floors = [value for name, value in self.patterns.items() if name.startswith("floor.")]
        silent = [name for name, *each in zip(PATTERNS, *floors, strict=False) if not np.isfinite(each).all()]
        return [sentence for arrays, sentence in lacking if not arrays] + [
            f"PyTorch itself gives values that are no numbers on probe {name}, so nothing is proved there"
            for name in silent
        ]


@dataclass(frozen=True)
class Place:
    """A runner and one of its backends: where an artifact is run."""

    runner: Runner
    backend: str
    toolchain: Toolchain

    @property
    def name(self) -> str:
        """`litert xnnpack`."""
        return f"{self.runner.runtime} {self.backend}".rstrip()

    @property
    def optional(self) -> bool:
        """Whether a machine may do without: it needs what only root can install."""
        return bool(self.runner.needs) or self.toolchain.optional

    def absent(self, build: bool) -> str:
        """Why it cannot run on this machine, and what would change that; empty: it can, or can be built."""
        for name in self.runner.needs:
            if programs.path(name) is None:
                return f"{name} is not on this machine. Get it: {programs.PROGRAMS[name].get}."
        for name in self.toolchain.missing:
            return f"{name} is not on this machine. Get it: {self.toolchain.needs[name]}."
        if self.toolchain.optional and not self.toolchain.ready and not build:
            return f"toolchain {self.toolchain.name} is not built. Build it: anywhere doctor --fix."
        return ""


Start = Callable[[Place, Path, int], AbstractContextManager[Worker]]
"""Of a place, a log and threads: the worker that runs an artifact there."""


def in_its_own_process(place: Place, log: Path, threads: int) -> AbstractContextManager[Worker]:
    """A worker for one row only: what a runtime leaves behind, or dies of, is nobody else's. Raises BadInput."""
    place.toolchain.build()
    environment = {"OMP_NUM_THREADS": str(threads), **programs.environment(place.runner.needs)}
    return place.toolchain.start(log, [place.runner.file], environment)


def check(
    run: Run,
    runners: Sequence[Runner],
    threads: int,
    progress: Callable[[str], None],
    toolchains: dict[str, Toolchain] | None = None,
    settings: ValidateConfig | None = None,
    earlier: Path | None = None,
    layers: bool = False,
    start: Start = in_its_own_process,
) -> Report:
    """All that was ever exported in this run, in all that can run it; compared with an `earlier` report.

    layers: also look into every artifact that was run for the layer at fault.

    Raises BadInput for artifacts that cannot be trusted, and where nothing could be judged.
    """
    settings = settings or ValidateConfig()
    toolchains = registry.find() if toolchains is None else toolchains
    expected = run.expected()
    if not expected:
        raise BadInput(f"run {run.name}: nothing was exported. Export first: anywhere export {run.name}.")
    proof = Proof.of(run.checkpoint)
    warnings = admission.check(run, proof.golden) + proof.missing
    artifacts = {name: run.artifact(name) if run.place(name).exists() else None for name in expected}
    for artifact in artifacts.values():
        if artifact:
            admission.check_provenance(run, artifact)
    places = [
        (name, place) for name in expected for place in _places(name.partition("/")[0], runners, toolchains, settings)
    ]
    model = _model(run)
    before = baseline.read(earlier, model) if earlier else None
    if before:
        wanted = [row for name, place in places if place and not settings.leaves_out(row := f"{name} in {place.name}")]
        baseline.check_rows(before, str(earlier), wanted)
    results = [
        _one(run, name, artifacts[name], place, proof, threads, progress, settings, start) for name, place in places
    ]
    ran = list(dict.fromkeys(f"{one.target}/{one.precision}" for one in results if one.status != "not_run"))
    if before:
        results = [baseline.compare(result, before, settings) for result in results]
    return Report(
        schema_version=4,
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
            "threads": threads,
        },
        settings={
            key: list(value) if isinstance(value, tuple) else value
            for key, value in dataclasses.asdict(settings).items()
        },
        warnings=warnings,
        baseline=baseline.record(before, str(earlier)) if before else None,
        results=results,
        localisations=localise.localise_all(run, ran, toolchains, progress) if layers else [],
        lints=lints(artifacts),
    )


def _model(run: Run) -> Model:
    checkpoint = run.checkpoint
    return Model(
        checkpoint.model_name,
        list(checkpoint.labels),
        {tensor.name: list(tensor.shape) for tensor in checkpoint.inputs},
        {tensor.name: list(tensor.shape) for tensor in checkpoint.outputs},
    )


def _places(
    target: str, runners: Sequence[Runner], toolchains: dict[str, Toolchain], settings: ValidateConfig
) -> list[Place | None]:
    """Where artifacts of a target are run; None alone: nowhere."""
    found: list[Place | None] = [
        Place(runner, backend, toolchains[runner.toolchain])
        for runner in runners
        if runner.target == target
        for backend in runner.backends
    ]
    return found or [None]


def _one(
    run: Run,
    name: str,
    artifact: Artifact | None,
    place: Place | None,
    proof: Proof,
    threads: int,
    progress: Callable[[str], None],
    settings: ValidateConfig,
    start: Start,
) -> Result:
    """One row: run and judged, or why not."""
    target, _, precision = name.partition("/")
    if place is None:
        row = Row(artifact, target, precision, "none", "", f"anywhere validate {run.name}")
        reason = f"no runner for target {target}. Add validate/runtimes/runners/{target}_in_<runtime>.py."
        return row.unmeasured("not_run", reason)
    wanted = f"{name} in {place.name}"
    row = Row(
        artifact,
        target,
        precision,
        place.runner.runtime,
        place.backend,
        f'anywhere validate {run.name} --only "{wanted}"',
        run.log("validate", wanted.replace(" in ", "-").replace(" ", "-")).relative_to(run.folder),
        settings.tolerance,
        place.runner.language,
    )
    absent = place.absent(build=settings.require == "all")
    if settings.leaves_out(wanted):
        return row.unmeasured("not_run", LEFT_OUT, settled=True)
    if artifact is None:
        log = run.log("export", name)
        return row.unmeasured(
            "not_run",
            f"it was to be exported, but there is no artifact. See {log}, then: anywhere export {run.name}.",
        )
    if absent:
        return row.unmeasured("not_run", absent, settled=place.optional and settings.require != "all")
    progress(wanted)
    result = _run(run, row, place, proof, threads, start)
    accepted = result.status == "refused" and settings.accepts(wanted)
    return dataclasses.replace(result, settled=result.settled or accepted)


def _run(run: Run, row: Row, place: Place, proof: Proof, threads: int, start: Start) -> Result:
    """Measure in a worker, then judge."""
    artifact = row.artifact
    assert artifact and row.log
    log = run.folder / row.log
    actual = run.folder / "report" / "actual" / f"{log.stem}.safetensors"
    prepared = actual.with_suffix(".probes")
    actual.parent.mkdir(parents=True, exist_ok=True)
    actual.unlink(missing_ok=True)
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_text("")
    inputs = run.checkpoint.folder / "golden.safetensors"
    try:
        with start(place, log, threads) as worker:
            wanted = job(artifact, place, inputs, actual, threads)
            wanted["probes"] = _write_probes(proof, artifact, prepared)
            measured = worker.call(place.runner.harness, "measure", wanted, log, place.runner.limit_s).value
        outputs: Arrays = load_file(actual)
    except (WorkerFailed, BadInput, OSError, SafetensorError) as error:
        reason = str(error) if isinstance(error, (WorkerFailed, BadInput)) else f"it left no readable outputs: {error}"
        refused = isinstance(error, WorkerFailed) and error.kind == "Refused"
        return row.unmeasured("refused" if refused else "error", reason.removeprefix("Refused: "))
    finally:
        prepared.unlink(missing_ok=True)
    return judge(row, outputs, proof.golden, measured, proof.probes, proof.patterns)


def _write_probes(proof: Proof, artifact: Artifact, place: Path) -> str:
    """The path of the probes for a runner; empty: there are none. Raises BadInput for a manifest that is wrong."""
    if not proof.probes:
        return ""
    patterns = {f"{PATTERN}{name}": value for name, value in proof.patterns.items()}
    try:
        files = prepare_probes(proof.probes, artifact.preparation, artifact.inputs[0].name)
        save_file(files | patterns, place)
    except ValueError as error:
        raise BadInput(f"its manifest's preparation cannot be followed: {error}") from error
    return str(place.absolute())


def job(artifact: Artifact, place: Place, inputs: Path, out: Path, threads: int) -> dict[str, Any]:
    """What `measure` of a runner's harness is told: which artifact, which inputs, and where its outputs go."""
    return {
        "runner": str(place.runner.file),
        "path": str(artifact.path.absolute()),
        "manifest": {
            "inputs": [dataclasses.asdict(one) for one in artifact.inputs],
            "outputs": [dataclasses.asdict(one) for one in artifact.outputs],
            "preparation": dict(artifact.preparation),
            "min_runtime_version": artifact.details.get("min_runtime_version"),
        },
        "golden": str(inputs.absolute()),
        "out": str(out.absolute()),
        "samples": place.runner.samples[place.backend],
        "threads": threads,
        "backend": place.backend,
        "collect_s": place.runner.collect_s,
    }


def _processor() -> str | None:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or None
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), None)
