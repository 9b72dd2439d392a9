"""Runs the rows of a plan, each in a process of its own, and keeps their numbers: nothing is judged here.

    measurements = measure_all(run, rows, proof, Options(threads=2), Local(jobs=1))

With more than one row at a time, outputs are measured side by side, and latency afterwards, alone.
"""

import dataclasses
import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from export.artifact import Artifact
from export.run import Run
from measures.tolerance import INTEGERS
from pipeline.checkpoint import Checkpoint
from records.errors import BadInput
from records.golden import PREPARED, Actual, Proof, Sized, flat
from records.tensor import Array, preparations, tensors_to
from validate.plan import Row, Runtime
from validate.preparation.probes import prepared
from validate.report.records import Status
from validate.runtimes.job import Budget, Job, Measured
from workers.executor import Executor
from workers.worker import Worker, WorkerFailed


@dataclass(frozen=True)
class Measurement:
    """The numbers of a row, or why there are none."""

    measured: Measured | None = None
    actual: Path | None = None
    """The file with its outputs."""
    status: Status = "error"
    """The status of a row without numbers: error, refused or not_run."""
    reason: str = ""

    def outputs(self) -> Actual:
        """Read the outputs. Raises OSError or SafetensorError where they are not readable."""
        assert self.actual
        return Actual.of(load_file(self.actual))


BATCHES = (33, 7, 64, 3, 2, 32)
"""Samples of one call that golden is run in besides, where an artifact takes any number: what is right in one may be
wrong in another. The likeliest first, for time may not allow all."""
MANY = 33
MANY_BYTES = 2**25
"""Bytes of inputs above which a call of more than `MANY` samples is left out: what is inside a network is many times as
large, and memory need not have room for twice as much as golden's own batches take."""
Start = Callable[[Runtime, Path, int], AbstractContextManager[Worker]]
"""A function of a runtime, a log and a number of threads that returns the worker which runs an artifact there."""


def in_its_own_process(place: Runtime, log: Path, threads: int) -> AbstractContextManager[Worker]:
    """Start a worker for one row only, so that what a runtime leaves behind, or dies of, affects no other.

    Raises BadInput.
    """
    place.toolchain.build()
    environment = {**place.environment, "OMP_NUM_THREADS": str(threads)}
    return place.toolchain.start(log, [place.runner.file], environment)


@dataclass(frozen=True)
class Options:
    """How rows are run."""

    threads: int
    timed: int = Budget.timed
    """Number of calls whose latency is taken, at most."""
    progress: Callable[[str], None] = lambda _: None
    """Called with the name of each row before it is run."""
    start: Start = in_its_own_process
    further_s: float = Budget.further_s
    """Seconds that further samples may take in one row."""


def measure_all(run: Run, rows: Sequence[Row], proof: Proof, options: Options, executor: Executor) -> list[Measurement]:
    """Return the measurements of all rows, in the order of the rows; an absent row's says that it was not run."""
    if executor.jobs == 1:
        return executor.map(lambda row: measure(run, row, proof, options), rows)
    untimed = dataclasses.replace(options, timed=0)
    numbers = executor.map(lambda row: measure(run, row, proof, untimed), rows)
    return [_timed(run, row, measurement, options) for row, measurement in zip(rows, numbers, strict=True)]


def outputs_file(run: Run, log: str | Path) -> Path:
    """Return the file with the outputs of a row; log: that of its worker, by which it is called."""
    return run.folder / "report" / "actual" / f"{Path(log).stem}.safetensors"


def measure(run: Run, row: Row, proof: Proof, options: Options) -> Measurement:
    """Return the measurement of one artifact on golden inputs, image files and patterns."""
    if row.absent:
        return Measurement(status="not_run", reason=row.absent)
    assert row.artifact and row.place and row.log
    options.progress(row.name)
    log = run.folder / row.log
    out = outputs_file(run, row.log)
    probes = out.with_suffix(".probes")
    out.parent.mkdir(parents=True, exist_ok=True)
    out.unlink(missing_ok=True)
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_bytes(b"")
    try:
        row_job = job(run, row.artifact, row.place, out, options)
        row_job = dataclasses.replace(row_job, probes=_write_probes(proof, row.artifact, probes))
        if proof.further and row.precision in INTEGERS:
            further = proof.further
            row_job = dataclasses.replace(row_job, further=further.files, further_samples=further.count)
        return Measurement(_call(row.place, row_job, log, options), out)
    except (WorkerFailed, BadInput, OSError) as error:
        return _failed(error)
    finally:
        probes.unlink(missing_ok=True)


def _timed(run: Run, row: Row, numbers: Measurement, options: Options) -> Measurement:
    """Return the same measurement with a latency that was taken while nothing else ran."""
    if numbers.measured is None:
        return numbers
    assert row.artifact and row.place and row.log
    options.progress(f"{row.name}, its latency")
    log = run.folder / row.log
    out = outputs_file(run, "timed")
    try:
        timed_job = job(run, row.artifact, row.place, out, options)
        timed = _call(row.place, dataclasses.replace(timed_job, samples=1), log, options)
        _take_last(out, numbers)
    except (WorkerFailed, BadInput, OSError, SafetensorError) as error:
        return _failed(error)
    return dataclasses.replace(numbers, measured=dataclasses.replace(numbers.measured, latency_ms=timed.latency_ms))


def _take_last(timed: Path, numbers: Measurement) -> None:
    """Put the outputs of the last call that was timed among those that were measured untimed. Raises OSError."""
    assert numbers.actual
    actual = dataclasses.replace(numbers.outputs(), last=Actual.of(load_file(timed)).last)
    save_file(actual.arrays(), numbers.actual)


def _call(place: Runtime, row_job: Job, log: Path, options: Options) -> Measured:
    """Return what a harness measured. Raises WorkerFailed, or BadInput for a malformed answer."""
    with options.start(place, log, options.threads) as worker:
        limit_s = place.runner.limit_s + (row_job.budget.further_s if row_job.further else 0)
        done = worker.call(place.runner.harness, "measure", row_job.record(), log, limit_s)
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
    arrays: dict[str, Array] = {}
    if proof.probes and preparations(artifact.inputs):
        try:
            files = prepared(proof.probes, artifact.inputs)
        except ValueError as error:
            raise BadInput(f"its manifest's preparation cannot be followed: {error}") from error
        arrays |= {**proof.probes.arrays(), **flat({PREPARED: files})}
    if proof.patterns:
        arrays |= proof.patterns.arrays()
    if proof.fresh:
        arrays |= proof.fresh.arrays()
    arrays |= Sized.arrays_of(proof.sizes)
    if not arrays:
        return None
    save_file(arrays, place)
    return place


def batches(checkpoint: Checkpoint, artifact: Artifact, place: Runtime) -> tuple[int, ...]:
    """Return the numbers of samples that golden is run in besides; none: the artifact or its backend takes one."""
    if isinstance(artifact.inputs[0].shape[0], int) or place.backend in place.runner.one_shape:
        return ()
    shapes = [[size for size in tensor.shape[1:] if isinstance(size, int)] for tensor in checkpoint.inputs]
    bytes_each = 4 * sum(math.prod(shape) for shape in shapes)
    most = place.runner.samples[place.backend]
    return tuple(size for size in BATCHES if size <= most and (size <= MANY or size * bytes_each <= MANY_BYTES))


def described(artifact: Artifact) -> dict[str, Any]:
    """Return what a runner reads of an artifact's manifest."""
    return {
        "inputs": tensors_to(artifact.inputs),
        "outputs": tensors_to(artifact.outputs),
        "min_runtime_version": artifact.min_runtime_version,
    }


def job(run: Run, artifact: Artifact, place: Runtime, out: Path, options: Options) -> Job:
    """Return the job that the harness of a runner is given."""
    return Job(
        runner=place.runner.file,
        path=artifact.path,
        manifest=described(artifact),
        golden=run.checkpoint.folder / "golden.safetensors",
        out=out,
        samples=place.runner.samples[place.backend],
        batches=batches(run.checkpoint, artifact, place),
        threads=options.threads,
        backend=place.backend,
        budget=dataclasses.replace(place.runner.budget, timed=options.timed, further_s=options.further_s),
    )
