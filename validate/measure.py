"""Runs the rows of a plan, each in a process of its own, and keeps what they gave: nothing is judged here.

    measurements = measure_all(run, rows, proof, Options(threads=2), Local(jobs=1))

With more than one at a time, numbers are measured side by side, and latency afterwards, alone.
"""

import dataclasses
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from safetensors.numpy import load_file, save_file

from export.artifact import Artifact
from export.run import Run
from records.errors import BadInput
from records.golden import PREPARED, Actual, Proof, flat
from validate.plan import Row, Runtime
from validate.preparation.probes import prepared
from validate.report.records import Status
from validate.runtimes import programs
from validate.runtimes.job import Budget, Job, Measured
from workers.executor import Executor
from workers.worker import Worker, WorkerFailed


@dataclass(frozen=True)
class Measurement:
    """What a row gave: numbers, or why there are none."""

    measured: Measured | None = None
    actual: Path | None = None
    """The file with its outputs."""
    status: Status = "error"
    """Where there are no numbers: error, refused or not_run."""
    reason: str = ""

    def outputs(self) -> Actual:
        """Read the outputs. Raises OSError, SafetensorError where they are not readable."""
        assert self.actual
        return Actual.of(load_file(self.actual))


Start = Callable[[Runtime, Path, int], AbstractContextManager[Worker]]
"""Of a place, a log and threads: the worker that runs an artifact there."""


def in_its_own_process(place: Runtime, log: Path, threads: int) -> AbstractContextManager[Worker]:
    """Start a worker for one row only: what a runtime leaves behind, or dies of, is nobody else's. Raises BadInput."""
    place.toolchain.build()
    environment = {"OMP_NUM_THREADS": str(threads), **programs.environment(place.runner.needs)}
    return place.toolchain.start(log, [place.runner.file], environment)


@dataclass(frozen=True)
class Options:
    """How rows are run."""

    threads: int
    timed: int = Budget.timed
    """Calls whose latency is taken, at most."""
    progress: Callable[[str], None] = lambda _: None
    """Told the name of each row before it is run."""
    start: Start = in_its_own_process


def measure_all(run: Run, rows: Sequence[Row], proof: Proof, options: Options, executor: Executor) -> list[Measurement]:
    """Measure every row that is not absent; in the order of the rows."""
    if executor.jobs == 1:
        return executor.map(lambda row: measure(run, row, proof, options), rows)
    untimed = dataclasses.replace(options, timed=0)
    numbers = executor.map(lambda row: measure(run, row, proof, untimed), rows)
    return [_timed(run, row, one, options) for row, one in zip(rows, numbers, strict=True)]


def measure(run: Run, row: Row, proof: Proof, options: Options) -> Measurement:
    """Run golden inputs, image files and patterns through one artifact."""
    if row.absent:
        return Measurement(status="not_run", reason=row.absent)
    assert row.artifact and row.place and row.log
    options.progress(row.name)
    log = run.folder / row.log
    out = run.folder / "report" / "actual" / f"{log.stem}.safetensors"
    probes = out.with_suffix(".probes")
    out.parent.mkdir(parents=True, exist_ok=True)
    out.unlink(missing_ok=True)
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_text("")
    try:
        wanted = job(run, row.artifact, row.place, out, options)
        wanted = dataclasses.replace(wanted, probes=_write_probes(proof, row.artifact, probes))
        return Measurement(_call(row.place, wanted, log, options), out)
    except (WorkerFailed, BadInput, OSError) as error:
        return _failed(error)
    finally:
        probes.unlink(missing_ok=True)


def _timed(run: Run, row: Row, numbers: Measurement, options: Options) -> Measurement:
    """The same measurement with a latency that was taken while nothing else ran."""
    if numbers.measured is None:
        return numbers
    assert row.artifact and row.place and row.log
    options.progress(f"{row.name}, its latency")
    log = run.folder / row.log
    try:
        wanted = job(run, row.artifact, row.place, run.folder / "report" / "actual" / "timed.safetensors", options)
        again = _call(row.place, dataclasses.replace(wanted, samples=1), log, options)
    except (WorkerFailed, BadInput, OSError) as error:
        return _failed(error)
    return dataclasses.replace(numbers, measured=dataclasses.replace(numbers.measured, latency_ms=again.latency_ms))


def _call(place: Runtime, wanted: Job, log: Path, options: Options) -> Measured:
    """Raises WorkerFailed, and BadInput for an answer that is none."""
    with options.start(place, log, options.threads) as worker:
        done = worker.call(place.runner.harness, "measure", wanted.record(), log, place.runner.limit_s)
    try:
        return Measured.read(done.value)
    except ValueError as error:
        raise BadInput(str(error)) from error


def _failed(error: Exception) -> Measurement:
    if isinstance(error, OSError):
        return Measurement(reason=f"it left no readable outputs: {error}")
    refused = isinstance(error, WorkerFailed) and error.kind == "Refused"
    return Measurement(status="refused" if refused else "error", reason=str(error).removeprefix("Refused: "))


def _write_probes(proof: Proof, artifact: Artifact, place: Path) -> Path | None:
    """Write the probes for a runner; None: there are none. Raises BadInput for a manifest that is wrong."""
    if proof.probes is None:
        return None
    try:
        files = prepared(proof.probes, artifact.preparation, artifact.inputs[0].name)
    except ValueError as error:
        raise BadInput(f"its manifest's preparation cannot be followed: {error}") from error
    patterns = proof.patterns.arrays() if proof.patterns else {}
    save_file({**proof.probes.arrays(), **flat({PREPARED: files}), **patterns}, place)
    return place


def job(run: Run, artifact: Artifact, place: Runtime, out: Path, options: Options) -> Job:
    """Return what the harness of a runner is told."""
    return Job(
        runner=place.runner.file,
        path=artifact.path,
        manifest={
            "inputs": [dataclasses.asdict(tensor) for tensor in artifact.inputs],
            "outputs": [dataclasses.asdict(tensor) for tensor in artifact.outputs],
            "preparation": dict(artifact.preparation),
            "min_runtime_version": artifact.min_runtime_version,
        },
        golden=run.checkpoint.folder / "golden.safetensors",
        out=out,
        samples=place.runner.samples[place.backend],
        threads=options.threads,
        backend=place.backend,
        budget=dataclasses.replace(place.runner.budget, timed=options.timed),
    )
