"""Runs the graph of conversions: each goes to a worker of its toolchain as soon as its source is built.

    outcomes = convert(run, plan(find()), jobs=2, force=False, report=print)

Nothing unchanged is built again. A failed conversion is an outcome of its own; what depends on it is not run; the
others go on.
"""

import errno
import os
import shutil
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from export.artifact import Artifact, recipe
from export.converted import Converted
from export.run import KEEP_16, KEEP_FLOAT, Run
from export.target import CHECKPOINT, Conversion, Workplace, code
from records.errors import FULL, BadInput, room_for
from records.folder import new_folder
from records.head import FILE as HEAD
from workers import registry
from workers.toolchain import Toolchain
from workers.worker import Done, Worker, WorkerFailed

INEXPRESSIBLE = "Inexpressible"
"""Name of the exception of export/graphs/operators.py: it is raised in another process, which reports its name."""


@dataclass(frozen=True)
class Outcome:
    """The result of one conversion."""

    conversion: Conversion
    status: str
    """built, unchanged, failed or not_run."""
    reason: str = ""
    artifact: Artifact | None = None
    log: Path | None = None
    kind: str = ""
    """The exception's name, where a conversion raised one."""

    @property
    def told(self) -> list[str]:
        """Return what a table has no room for: why it failed and where its log is, or what it noticed."""
        if self.artifact is None:
            return [f"{self.conversion.name}: {self.reason}{f' Log: {self.log}' if self.log else ''}"]
        return [f"{self.conversion.name}: {finding}" for finding in self.artifact.findings]


class Workers:
    """The live workers: one per toolchain and environment, for one job after the other: TensorFlow is imported once.

    `prepare` starts one ahead of its first job, so that an environment is built, or TensorFlow imported, while the
    job's source is still being converted.
    """

    def __init__(self, run: Run, toolchains: Mapping[str, Toolchain], conversions: Sequence[Conversion], jobs: int):
        self.run, self.toolchains = run, toolchains
        self.files = {
            place: list(
                dict.fromkeys(
                    conversion.target.file for conversion in conversions if conversion.target.workplace == place
                )
            )
            for place in {conversion.target.workplace for conversion in conversions}
        }
        self.environment = {"OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // jobs))}
        self._coming: dict[Workplace, Future[Worker]] = {}
        self._lock = threading.Lock()
        self._starter = ThreadPoolExecutor()

    def prepare(self, place: Workplace) -> Future[Worker]:
        """Start a worker for that place in the background, unless there is one, and return its future."""
        with self._lock:
            if place not in self._coming:
                self._coming[place] = self._starter.submit(self._new, place)
            return self._coming[place]

    def take(self, place: Workplace) -> Worker:
        """Return the place's worker, a new one if the last one died. Raises BadInput if it cannot be built."""
        try:
            worker = self.prepare(place).result()
        except BadInput:
            self._forget(place)  # the next job says so, too
            raise
        if worker.alive:
            return worker
        self._forget(place)
        return self.prepare(place).result()

    def _forget(self, place: Workplace) -> None:
        with self._lock:
            self._coming.pop(place, None)

    def _new(self, place: Workplace) -> Worker:
        chain = self.toolchains[place.toolchain]
        chain.build()
        log = self.run.log("export", f"toolchain-{place.toolchain}")
        return chain.start(log, self.files[place], {**dict(place.environment), **self.environment})

    def close(self) -> None:
        """End all workers, also those that no job took and, after Ctrl-C, those in the middle of a job."""
        self._starter.shutdown(cancel_futures=True)
        for future in self._coming.values():
            if future.done() and not future.cancelled() and not future.exception():
                future.result().close()


def convert(
    run: Run,
    conversions: Sequence[Conversion],
    jobs: int,
    force: bool,
    report: Callable[[Outcome], None],
    toolchains: Mapping[str, Toolchain] | None = None,
    options: Sequence[str] = (),
) -> list[Outcome]:
    """Bring every artifact up to date, at most `jobs` at a time; return outcomes in the order of `conversions`.

    `report` is called as each one ends. The conversions that most others are made from go first.
    """
    toolchains = registry.find() if toolchains is None else toolchains
    code_files = {file: code(file) for file in {conversion.target.file for conversion in conversions}}
    keys = {name: toolchains[name].key for name in {conversion.target.toolchain for conversion in conversions}}
    run.expect(conversion.name for conversion in conversions)
    outcomes: dict[str, Outcome] = {}
    waiting = sorted(conversions, key=lambda conversion: -_dependents(conversion, conversions))
    running: dict[Future[Outcome], Conversion] = {}
    workers: Workers | None = None

    def settle(outcome: Outcome) -> None:
        outcomes[outcome.conversion.name] = outcome
        report(outcome)

    with ThreadPoolExecutor(jobs) as pool:
        try:
            while waiting or running:
                for conversion in list(waiting):
                    source = outcomes.get(conversion.source)
                    if conversion.source != CHECKPOINT and source is None:
                        if workers:  # its source is being made anew, so it will be, too
                            workers.prepare(conversion.target.workplace)
                        continue
                    if source and source.artifact is None:
                        waiting.remove(conversion)
                        settle(
                            Outcome(
                                conversion,
                                "not_run",
                                f"its source {conversion.source} {source.status.replace('_', ' ')}",
                                log=source.log,
                            )
                        )
                        continue
                    source_artifact = source.artifact if source else None
                    switches = [option for option in options if option in conversion.target.options]
                    sixteens = [f"16 bits: {layer}" for layer in run.kept(conversion.name, KEEP_16)]
                    requests = [*run.kept(conversion.name), *sixteens, *switches]
                    key = recipe(code_files[conversion.target.file], keys[conversion.target.toolchain], requests)
                    if not force and (existing := unchanged(run, conversion, source_artifact, key)):
                        waiting.remove(conversion)
                        settle(Outcome(conversion, "unchanged", artifact=existing))
                        continue
                    busy = {active.target.workplace for active in running.values()}
                    if len(running) < jobs and conversion.target.workplace not in busy:
                        waiting.remove(conversion)
                        workers = workers or Workers(run, toolchains, conversions, jobs)
                        job = pool.submit(_convert_one, run, conversion, source_artifact, key, workers, switches)
                        running[job] = conversion
                for future in wait(running, return_when=FIRST_COMPLETED).done if running else ():
                    del running[future]
                    settle(future.result())
        finally:
            if workers:
                workers.close()
    return [_with_remedy(outcomes[conversion.name], outcomes) for conversion in conversions]


def _dependents(conversion: Conversion, conversions: Sequence[Conversion]) -> int:
    """Return how many of the conversions are made from this one, directly or not."""
    dependents = [candidate for candidate in conversions if candidate.source == conversion.name]
    return len(dependents) + sum(_dependents(dependent, conversions) for dependent in dependents)


def _with_remedy(outcome: Outcome, outcomes: Mapping[str, Outcome]) -> Outcome:
    """Return an outcome whose reason, for an operator its target cannot express, names the targets that can."""
    if outcome.kind != INEXPRESSIBLE:
        return outcome
    able_targets = dict.fromkeys(other.conversion.target.name for other in outcomes.values() if other.artifact)
    return replace(
        outcome, reason=f"{outcome.reason} Targets that can: {', '.join(able_targets) or 'none of those asked for'}."
    )


def unchanged(run: Run, conversion: Conversion, source: Artifact | None, key: str) -> Artifact | None:
    """Return the artifact that is already there, if it is whole and was made from the same things; None otherwise."""
    try:
        artifact = run.artifact(conversion.name)
    except BadInput:
        return None
    up_to_date = artifact.recipe == key and artifact.source_sha256 == (
        source.sha256 if source else run.checkpoint.sha256
    )
    return artifact if up_to_date else None


def _convert_one(
    run: Run,
    conversion: Conversion,
    source: Artifact | None,
    key: str,
    workers: Workers,
    switches: Sequence[str] = (),
) -> Outcome:
    target, log = conversion.target, run.log("export", conversion.name)
    place = run.place(conversion.name)
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_bytes(b"")
        with new_folder(place) as new:
            worker = workers.take(target.workplace)
            try:
                done = worker.call(
                    target.file,
                    "convert",
                    {
                        "source": str(source.path if source else run.checkpoint.folder),
                        "checkpoint": str(run.checkpoint.folder),
                        "precision": conversion.precision,
                        "out": str(new),
                        **{how: kept for how in (KEEP_FLOAT, KEEP_16) if (kept := run.kept(conversion.name, how))},
                        **dict.fromkeys(switches, True),
                    },
                    log,
                    target.limit_s,
                )
            except BaseException as error:
                worker.close()
                if isinstance(error, WorkerFailed) and error.errno in {*FULL, errno.EROFS}:
                    with room_for(_fullest(place)):
                        raise OSError(error.errno, os.strerror(error.errno)) from error
                raise
            try:
                converted = Converted.read(done.value, new)
            except ValueError as error:
                raise WorkerFailed(str(error)) from error
            if HEAD in run.checkpoint.files:
                shutil.copyfile(run.checkpoint.folder / HEAD, new / HEAD)
            artifact = Artifact.seal(new, place, _record(run, conversion, source, key, done, converted))
    except WorkerFailed as error:
        reason = str(error).removeprefix(f"{INEXPRESSIBLE}: ")
        return Outcome(conversion, "failed", reason, log=log, kind=error.kind)
    except BadInput as error:
        return Outcome(conversion, "failed", str(error), log=log)
    except OSError as error:
        return Outcome(conversion, "failed", f"{place} cannot be written: {error.strerror} ({error.filename})", log=log)
    return Outcome(conversion, "built", artifact=artifact, log=log)


def _fullest(place: Path) -> Path:
    """Return the place of an artifact, or the folder for temporary files where its disk has less room."""
    there = next(folder for folder in place.parents if folder.exists())
    scratch = Path(tempfile.gettempdir())
    return place if shutil.disk_usage(there).free <= shutil.disk_usage(scratch).free else scratch


def _record(
    run: Run, conversion: Conversion, source: Artifact | None, key: str, done: Done, converted: Converted
) -> dict[str, Any]:
    checkpoint = run.checkpoint
    return {
        "target": conversion.target.name,
        "precision": conversion.precision,
        "entry": converted.entry,
        "source": conversion.source,
        "source_sha256": source.sha256 if source else checkpoint.sha256,
        "checkpoint_sha256": checkpoint.sha256,
        "recipe": key,
        "toolchain": conversion.target.toolchain,
        "task": checkpoint.task,
        "labels": checkpoint.labels,
        "inputs": converted.inputs or checkpoint.inputs,
        "outputs": converted.outputs or checkpoint.outputs,
        "normalisation": checkpoint.normalisation,
        "decoding": checkpoint.decoding,
        "findings": list(converted.findings),
        "details": dict(converted.details),
        "seconds": round(done.seconds, 3),
        "peak_memory": done.peak_memory,
    }
