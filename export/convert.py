"""Walks the graph of conversions: each goes to a worker of its toolchain as soon as its source is there.

    outcomes = convert(run, plan(find()), jobs=2, force=False, report=print)

Nothing unchanged is built again. One that fails is its own outcome; what depends on it is not run; the others go on.
"""

import os
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from export import toolchain
from export.artifact import Artifact, Run, new_folder, recipe
from export.target import CHECKPOINT, Conversion, Target
from export.toolchain import Toolchain, Worker, WorkerFailed
from pipeline.checkpoint import tensor_from
from pipeline.errors import BadInput


@dataclass(frozen=True)
class Outcome:
    """What became of one conversion."""

    conversion: Conversion
    status: str
    """built, unchanged, failed or not_run."""
    reason: str = ""
    artifact: Artifact | None = None
    log: Path | None = None


class Workers:
    """The live workers, one a toolchain, each with one job at a time: TensorFlow is imported once.

    `prepare` starts one ahead of its first job: building an environment or importing TensorFlow overlaps what is
    still being made for it.
    """

    def __init__(self, run: Run, toolchains: Mapping[str, Toolchain], jobs: int):
        self.run, self.toolchains = run, toolchains
        self.environment = {"OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // jobs))}
        self._all: list[Worker] = []
        self._idle: list[Worker] = []
        self._started: list[str] = []
        self._coming: dict[str, Future[Worker]] = {}
        self._lock = threading.Lock()
        self._starter = ThreadPoolExecutor()

    def prepare(self, target: Target) -> None:
        """Start a worker for the target's toolchain, unless there was one already."""
        with self._lock:
            if target.toolchain in self._started:
                return
            self._started.append(target.toolchain)
            self._coming[target.toolchain] = self._starter.submit(self._new, target)

    def take(self, target: Target) -> Worker:
        """An idle worker of the target's toolchain, the one that is being started, or a new one."""
        with self._lock:
            self._started.append(target.toolchain)
            idle = next((worker for worker in self._idle if worker.toolchain.name == target.toolchain), None)
            if idle:
                self._idle.remove(idle)
                return idle
            coming = self._coming.pop(target.toolchain, None)
        return coming.result() if coming else self._new(target)

    def _new(self, target: Target) -> Worker:
        chain = self.toolchains[target.toolchain]
        chain.build()
        worker = chain.start(self.run.log("export", f"toolchain-{chain.name}"), [target.file], self.environment)
        with self._lock:
            self._all.append(worker)
        return worker

    def give_back(self, worker: Worker) -> None:
        """Keep it for the next job, if it lives."""
        if worker.alive:
            with self._lock:
                self._idle.append(worker)

    def close(self) -> None:
        """End all of them, also those nobody took and, after Ctrl-C, those in the midst of a job."""
        self._starter.shutdown(cancel_futures=True)
        for worker in self._all:
            worker.close()


def convert(
    run: Run,
    conversions: Sequence[Conversion],
    jobs: int,
    force: bool,
    report: Callable[[Outcome], None],
    toolchains: Mapping[str, Toolchain] | None = None,
) -> list[Outcome]:
    """Bring every artifact up to date, at most `jobs` at a time; outcomes in the order of `conversions`.

    `report` is called as each ends.
    """
    toolchains = toolchain.find() if toolchains is None else toolchains
    keys = {name: toolchains[name].key for name in {one.target.toolchain for one in conversions}}
    run.expect(conversion.name for conversion in conversions)
    outcomes: dict[str, Outcome] = {}
    waiting = list(conversions)
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
                            workers.prepare(conversion.target)
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
                    made_from = source.artifact if source else None
                    key = recipe(conversion.target.file, keys[conversion.target.toolchain])
                    if not force and (existing := unchanged(run, conversion, made_from, key)):
                        waiting.remove(conversion)
                        settle(Outcome(conversion, "unchanged", artifact=existing))
                        continue
                    if len(running) < jobs:
                        waiting.remove(conversion)
                        workers = workers or Workers(run, toolchains, jobs)
                        running[pool.submit(_convert_one, run, conversion, made_from, key, workers)] = conversion
                for future in wait(running, return_when=FIRST_COMPLETED).done if running else ():
                    del running[future]
                    settle(future.result())
        finally:
            if workers:
                workers.close()
    return [outcomes[conversion.name] for conversion in conversions]


def unchanged(run: Run, conversion: Conversion, source: Artifact | None, key: str) -> Artifact | None:
    """The artifact that is there already, if it is whole and was made from the same things in the same way."""
    try:
        artifact = run.artifact(conversion.name)
    except BadInput:
        return None
    same = artifact.recipe == key and artifact.source_sha256 == (source.sha256 if source else run.checkpoint.sha256)
    return artifact if same else None


def _convert_one(run: Run, conversion: Conversion, source: Artifact | None, key: str, workers: Workers) -> Outcome:
    target, log = conversion.target, run.log("export", conversion.name)
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_text("")
    place = run.place(conversion.name)
    try:
        with new_folder(place) as new:
            worker = workers.take(target)
            try:
                done = worker.call(
                    target.file,
                    "convert",
                    {
                        "source": str(source.path if source else run.checkpoint.folder),
                        "checkpoint": str(run.checkpoint.folder),
                        "precision": conversion.precision,
                        "out": str(new),
                    },
                    log,
                    target.limit_s,
                )
            except BaseException:
                worker.close()
                raise
            workers.give_back(worker)
            artifact = Artifact.seal(new, place, _record(run, conversion, source, key, done, new))
    except (WorkerFailed, BadInput) as error:
        return Outcome(conversion, "failed", str(error), log=log)
    except OSError as error:
        return Outcome(conversion, "failed", f"{place} cannot be written: {error.strerror} ({error.filename})", log=log)
    return Outcome(conversion, "built", artifact=artifact, log=log)


def _record(
    run: Run, conversion: Conversion, source: Artifact | None, key: str, done: toolchain.Done, new: Path
) -> dict[str, Any]:
    said = done.value if isinstance(done.value, dict) else {}
    entry = said.get("entry")
    if not isinstance(entry, str) or not (new / entry).exists():
        raise WorkerFailed(f"the conversion ended without an error but wrote no {entry or 'entry'}")
    checkpoint = run.checkpoint
    return {
        "target": conversion.target.name,
        "precision": conversion.precision,
        "entry": entry,
        "source": conversion.source,
        "source_sha256": source.sha256 if source else checkpoint.sha256,
        "checkpoint_sha256": checkpoint.sha256,
        "recipe": key,
        "toolchain": conversion.target.toolchain,
        "task": checkpoint.task,
        "labels": checkpoint.labels,
        "inputs": tuple(map(tensor_from, said["inputs"])) if "inputs" in said else checkpoint.inputs,
        "outputs": tuple(map(tensor_from, said["outputs"])) if "outputs" in said else checkpoint.outputs,
        "preparation": checkpoint.preparation,
        "normalisation": checkpoint.normalisation,
        "findings": said.get("findings", []),
        "details": said.get("details", {}),
        "seconds": round(done.seconds, 3),
        "peak_memory": done.peak_memory,
    }
