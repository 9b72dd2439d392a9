"""Every artifact in every runtime on the golden inputs: first everything is measured, then judged.

report = check(run, runners, threads=2, progress=print)
"""

import dataclasses
import os
import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file

from export import toolchain
from export.artifact import Artifact, BadInput, Run
from export.toolchain import Toolchain, WorkerFailed
from validate import machine, tasks
from validate.compare import agreement, compare, varies
from validate.report import Agreement, Judgement, Latency, Metric, Output, Report, Result, Status, verdict
from validate.runner import Runner
from validate.settings import ValidateConfig
from validate.tolerance import FLOOR_MULTIPLE, TABLE, Tolerance

Arrays = dict[str, np.ndarray[Any, Any]]
LEFT_OUT = "left out by the configuration."


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
            if machine.path(name) is None:
                return f"{name} is not on this machine. Get it: {machine.PROGRAMS[name].get}."
        for name in self.toolchain.missing:
            return f"{name} is not on this machine. Get it: {self.toolchain.needs[name]}."
        if self.toolchain.optional and not self.toolchain.ready and not build:
            return f"toolchain {self.toolchain.name} is not built. Build it: anywhere doctor --fix."
        return ""


def check(
    run: Run,
    runners: Sequence[Runner],
    threads: int,
    progress: Callable[[str], None],
    toolchains: dict[str, Toolchain] | None = None,
    settings: ValidateConfig | None = None,
) -> Report:
    """All that was ever exported in this run, in all that can run it.

    Raises BadInput for artifacts that cannot be trusted.
    """
    settings = settings or ValidateConfig()
    toolchains = toolchain.find() if toolchains is None else toolchains
    expected = run.expected()
    if not expected:
        raise BadInput(f"run {run.name}: nothing was exported. Export first: anywhere export {run.name}.")
    golden = run.checkpoint.golden()
    _check_golden(golden, run)
    artifacts = {name: run.artifact(name) if run.place(name).exists() else None for name in expected}
    results: list[Result] = []
    for name, artifact in artifacts.items():
        target = name.partition("/")[0]
        places = [
            Place(runner, backend, toolchains[runner.toolchain])
            for runner in runners
            if runner.target == target
            for backend in runner.backends
        ]
        results += _one_artifact(run, name, artifact, places, golden, threads, progress, settings)
    return Report(
        schema_version=2,
        run=run.name,
        verdict=verdict(results),
        checkpoint_sha256=run.checkpoint.sha256,
        task=run.checkpoint.task,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        machine={
            "platform": platform.platform(),
            "processor": _processor(),
            "cores": os.cpu_count(),
            "threads": threads,
        },
        settings={
            "require": settings.require,
            "accept": list(settings.accept),
            "leave_out": list(settings.leave_out),
        },
        results=results,
    )


def _check_golden(golden: Arrays, run: Run) -> None:
    """Parity with outputs that say nothing would prove nothing."""
    for tensor in run.checkpoint.outputs:
        values = golden[f"output.{tensor.name}"]
        if not np.isfinite(values).all():
            raise BadInput(
                f"golden {tensor.name} of run {run.name}: has values that are no numbers. Train again: anywhere "
                "train --force."
            )
        if not varies(values):
            raise BadInput(
                f"golden {tensor.name} of run {run.name}: the same for every input, so parity would prove "
                "nothing. Train longer, or another model."
            )


def _one_artifact(
    run: Run,
    name: str,
    artifact: Artifact | None,
    places: Sequence[Place],
    golden: Arrays,
    threads: int,
    progress: Callable[[str], None],
    settings: ValidateConfig,
) -> list[Result]:
    target, _, precision = name.partition("/")
    if not places:
        reason = f"no runner for target {target}. Add validate/runners/{target}_in_<runtime>.py."
        return [_unmeasured(target, precision, "none", "", "not_run", reason, artifact)]
    results = []
    everything = settings.require == "all"
    for place in places:
        runtime, row, absent = place.runner.runtime, f"{name} in {place.name}", place.absent(build=everything)
        if settings.leaves_out(row):
            result = _unmeasured(target, precision, runtime, place.backend, "not_run", LEFT_OUT, artifact)
            results.append(dataclasses.replace(result, settled=True))
        elif artifact is None:
            log = run.log("export", name)
            reason = f"it was to be exported, but there is no artifact. See {log}, then: anywhere export {run.name}."
            results.append(_unmeasured(target, precision, runtime, place.backend, "not_run", reason, None))
        elif absent:
            result = _unmeasured(target, precision, runtime, place.backend, "not_run", absent, artifact)
            results.append(dataclasses.replace(result, settled=place.optional and not everything))
        else:
            progress(row)
            result = _run_one(run, artifact, place, golden, threads)
            accepted = result.status == "refused" and settings.accepts(row)
            results.append(dataclasses.replace(result, settled=result.settled or accepted))
    return results


def _run_one(run: Run, artifact: Artifact, place: Place, golden: Arrays, threads: int) -> Result:
    """Measure in a process of its own, then judge."""
    runner, chain = place.runner, place.toolchain
    name = f"{artifact.name} {place.name}".replace("/", "-").replace(" ", "-")
    log = run.log("validate", name)
    actual = run.folder / "report" / "actual" / f"{name}.safetensors"
    actual.parent.mkdir(parents=True, exist_ok=True)
    actual.unlink(missing_ok=True)
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_text("")
    job = {
        "runner": str(runner.file),
        "path": str(artifact.path.absolute()),
        "manifest": {
            "inputs": [dataclasses.asdict(one) for one in artifact.inputs],
            "outputs": [dataclasses.asdict(one) for one in artifact.outputs],
            "min_runtime_version": artifact.details.get("min_runtime_version"),
        },
        "golden": str((run.checkpoint.folder / "golden.safetensors").absolute()),
        "out": str(actual.absolute()),
        "samples": runner.samples[place.backend],
        "threads": threads,
        "backend": place.backend,
        "collect_s": runner.collect_s,
    }
    try:
        chain.build()
        environment = {"OMP_NUM_THREADS": str(threads), **machine.environment(runner.needs)}
        with chain.start(log, [runner.file], environment) as worker:
            measured = worker.call(runner.harness, "measure", job, log, runner.limit_s).value
        outputs: Arrays = load_file(actual)
    except (WorkerFailed, BadInput, OSError, SafetensorError) as error:
        reason = str(error) if isinstance(error, (WorkerFailed, BadInput)) else f"it left no readable outputs: {error}"
        refused = isinstance(error, WorkerFailed) and error.kind == "Refused"
        return _unmeasured(
            artifact.target,
            artifact.precision,
            runner.runtime,
            place.backend,
            "refused" if refused else "error",
            reason.removeprefix("Refused: "),
            artifact,
            log.relative_to(run.folder),
        )
    return judge(artifact, runner.runtime, place.backend, outputs, golden, measured, log.relative_to(run.folder))


def judge(
    artifact: Artifact,
    runtime: str,
    backend: str,
    actual: Arrays,
    golden: Arrays,
    measured: dict[str, Any],
    log: Path | None,
) -> Result:
    """Outputs of the first golden inputs against golden, and all differences against the table."""
    count, task = int(measured["samples"]), tasks.load(artifact.task)
    table = TABLE[artifact.precision]
    expected = {tensor.name: golden[f"output.{tensor.name}"][:count] for tensor in artifact.outputs}
    problems: list[str] = []
    if count == 0:
        problems.append("no golden input was run")
    for name in sorted(set(actual) - set(expected)):
        problems.append(f"{name}: an output that golden does not have")
    outputs: list[Output] = []
    for name, reference in expected.items():
        if name not in actual:
            problems.append(f"{name}: missing among the outputs ({', '.join(actual)})")
            continue
        try:
            outputs.append(_output(name, actual[name], reference, golden[f"oracle.{name}"][:count], table))
        except ValueError as error:
            problems.append(f"{name}: {error}")
    whole = len(outputs) == len(expected) and count > 0
    agreed, metric = _decisions(task, actual, expected, golden["labels"][:count], table) if whole else (None, None)
    problems += _beyond(outputs, agreed, metric, count)
    return Result(
        target=artifact.target,
        precision=artifact.precision,
        runtime=runtime,
        backend=backend,
        runtime_version=measured["runtime_version"],
        status="fail" if problems or not whole else "pass",
        settled=not problems and whole,
        reason="; ".join(problems),
        outputs=outputs,
        agreement=agreed,
        metric=metric,
        latency_ms=Latency(**measured["latency_ms"]),
        size_bytes=artifact.size_bytes,
        samples=count,
        artifact_sha256=artifact.sha256,
        log=str(log) if log else None,
    )


def _output(
    name: str,
    actual: np.ndarray[Any, Any],
    golden: np.ndarray[Any, Any],
    oracle: np.ndarray[Any, Any],
    table: Sequence[Tolerance],
) -> Output:
    difference = compare(actual, golden)
    noise_floor = float(np.abs(golden - oracle).max())
    # Values beyond float32's own resolution cannot be asked for, whatever luck golden had.
    resolution = float(np.abs(golden).max() * np.finfo(np.float32).eps)
    judgements = [
        _judge(
            tolerance,
            getattr(difference, tolerance.measure),
            max(noise_floor, resolution) if tolerance.unit == FLOOR_MULTIPLE else 1.0,
        )
        for tolerance in table
        if hasattr(difference, tolerance.measure)
    ]
    values = dataclasses.asdict(difference) | {"worst": list(difference.worst)}
    return Output(name=name, noise_floor=noise_floor, judgements=judgements, **values)


def _decisions(
    task: tasks.Task, actual: Arrays, golden: Arrays, labels: np.ndarray[Any, Any], table: Sequence[Tolerance]
) -> tuple[Agreement, Metric]:
    ours, theirs = task.decide(actual), task.decide(golden)
    limits = {tolerance.measure: tolerance for tolerance in table}
    share = agreement(ours, theirs)
    before, after = task.score(theirs, labels), task.score(ours, labels)
    return (
        Agreement(share, _judge(limits["agreement"], share)),
        Metric(task.METRIC, before, after, after - before, _judge(limits["metric_change"], abs(after - before))),
    )


def _judge(tolerance: Tolerance, measured: float, unit: float = 1.0) -> Judgement:
    """`unit`: what the table's number is a multiple of."""
    scaled = dataclasses.replace(tolerance, allowed=tolerance.allowed * unit)
    return Judgement(
        measure=tolerance.measure,
        measured=measured,
        allowed=scaled.allowed,
        upper=tolerance.upper,
        headroom=scaled.headroom(measured),
        within=scaled.within(measured),
        reason=tolerance.reason,
    )


def _beyond(outputs: Sequence[Output], agreed: Agreement | None, metric: Metric | None, count: int) -> list[str]:
    """A sentence for every judgement that is not within tolerance."""
    found = []
    for output in outputs:
        if output.not_finite:
            found.append(
                f"{output.name}: {output.not_finite} values are NaN or infinite, the first at {tuple(output.worst)}"
            )
            continue
        found += [
            f"{output.name}: {_wording(one)}, greatest difference at {tuple(output.worst)}"
            for one in output.judgements
            if not one.within
        ]
    if agreed and not agreed.judgement.within:
        found.append(
            f"{round((1 - agreed.share) * count)} of {count} decisions differ from golden's: "
            f"{_wording(agreed.judgement)}"
        )
    if metric and not metric.judgement.within:
        found.append(f"{metric.name} {metric.golden:.4f} → {metric.actual:.4f}: {_wording(metric.judgement)}")
    return found


def _wording(one: Judgement) -> str:
    measured = "NaN" if one.measured is None else f"{one.measured:.4g}"
    return f"{one.measure} {measured} ({'at most' if one.upper else 'at least'} {one.allowed:.4g} allowed)"


def _unmeasured(
    target: str,
    precision: str,
    runtime: str,
    backend: str,
    status: Status,
    reason: str,
    artifact: Artifact | None,
    log: Path | None = None,
) -> Result:
    return Result(
        target=target,
        precision=precision,
        runtime=runtime,
        backend=backend,
        runtime_version=None,
        status=status,
        settled=False,
        reason=reason,
        outputs=[],
        agreement=None,
        metric=None,
        latency_ms=None,
        size_bytes=artifact.size_bytes if artifact else None,
        samples=0,
        artifact_sha256=artifact.sha256 if artifact else None,
        log=str(log) if log else None,
    )


def _processor() -> str | None:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or None
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), None)
