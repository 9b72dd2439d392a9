"""Plans a validation: every artifact that was asked for, in every runtime there is, as a list of rows.

rows = plan(run, artifacts, runner.find(), registry.find(), ValidateConfig())
[row.name for row in rows if not row.absent]
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from export.artifact import Artifact
from export.run import Run
from measures.tolerance import INTEGERS
from records.errors import unknown
from validate.report.records import Attempt, Language, Outcome, Quantization, Repair, Result, Status
from validate.runtimes import programs
from validate.runtimes.runner import Runner
from validate.settings import ValidateConfig
from workers.toolchain import Toolchain

LEFT_OUT = "left out by the configuration."


@dataclass(frozen=True)
class Runtime:
    """A runner on one of its backends: a place where artifacts are run."""

    runner: Runner
    backend: str
    toolchain: Toolchain

    @property
    def name(self) -> str:
        """Return its name, `litert xnnpack`."""
        return f"{self.runner.runtime} {self.backend}".rstrip()

    @property
    def optional(self) -> bool:
        """True if a machine may lack it, because it needs what only root can install."""
        return bool(self.runner.needs) or self.toolchain.optional

    @property
    def environment(self) -> dict[str, str]:
        """Return the variables its process is started with: the runner's own, and where the programs it needs are."""
        return {**self.runner.environment[self.backend], **programs.environment(self.runner.needs)}

    def absent(self, build: bool) -> str:
        """Return why it cannot run on this machine, and what would change that; empty: it can, or can be built."""
        for name in self.runner.needs:
            if programs.path(name) is None:
                return f"{name} is not on this machine. Get it: {programs.PROGRAMS[name].get}."
        for name in self.toolchain.missing:
            return f"{name} is not on this machine. Get it: {self.toolchain.needs[name]}."
        if self.toolchain.optional and not self.toolchain.ready and not build:
            return f"toolchain {self.toolchain.name} is not built. Build it: anywhere doctor --fix."
        return ""


@dataclass(frozen=True)
class Row:
    """One artifact in one runtime, before it is run."""

    artifact: Artifact | None
    target: str
    precision: str
    runtime: str
    backend: str
    command: str
    """The command that runs this row alone."""
    log: Path | None = None
    """The log of its worker, relative to the run's folder."""
    overrides: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """The configuration's tolerances: precision → measure → allowed."""
    language: Language = "python"
    """The language in which image files are prepared for it."""
    place: Runtime | None = None
    """None: nothing runs this target."""
    absent: str = ""
    """Why it is not run; empty: it is."""
    excused: bool = False
    """True if it need not have a result: it is absent and may be, or its refusal is accepted."""
    misfits: tuple[str, ...] = ()
    """Sentences of what the artifact's file says of itself, and its manifest or the checkpoint otherwise."""
    remarks: tuple[str, ...] = ()
    """Sentences of what is as it should be in the artifact's file, and yet worth a warning."""

    @property
    def name(self) -> str:
        """Return its name, `tflite/int8 in litert xnnpack`."""
        return f"{self.target}/{self.precision} in {self.runtime} {self.backend}".rstrip()

    def unmeasured(self, status: Status, reason: str) -> Result:
        """Return the result of a row without outputs. An error is never excused; a refusal or an absence may be."""
        outcome: Outcome = "excused" if self.excused and status in {"not_run", "refused"} else "blocking"
        return self.result(status=status, reason=reason, outcome=outcome)

    def result(self, **values: Any) -> Result:
        """Return a Result of this row with these values; other fields are empty."""
        empty: dict[str, Any] = {
            "runtime_version": None,
            "flags": [],
            "warnings": [],
            "outputs": [],
            "agreement": None,
            "metric": None,
            "from_file": None,
            "probes": [],
            "decisions": [],
            "worst": [],
            "latency_ms": None,
            "samples": 0,
        }
        return Result(
            target=self.target,
            precision=self.precision,
            runtime=self.runtime,
            backend=self.backend,
            quantization=quantization(self.artifact) if self.artifact else None,
            size_bytes=self.artifact.size_bytes if self.artifact else None,
            artifact_sha256=self.artifact.sha256 if self.artifact else None,
            command=self.command,
            log=str(self.log) if self.log else None,
            **empty | values,
        )


def quantization(artifact: Artifact) -> Quantization | None:
    """Return how an artifact's integer ranges were set; None where no range was calibrated."""
    integers = artifact.integers
    if integers is None:
        return None
    repair = None
    if integers.repair is not None:
        curve = [Attempt(**vars(step)) for step in integers.repair.curve]
        repair = Repair(**vars(integers.repair) | {"curve": curve})
    return Quantization(
        integers.calibration_samples,
        integers.halves_sqnr_db,
        list(integers.keep_float),
        list(integers.keep_16),
        repair,
    )


def asked(
    expected: Sequence[str],
    runners: Sequence[Runner],
    toolchains: Mapping[str, Toolchain],
    settings: ValidateConfig,
) -> list[str]:
    """Return the conversions of which at least one row was asked for. Raises BadInput where `only` matches no row."""
    names = {
        name: [_name(name, place) for place in _places(name.partition("/")[0], runners, toolchains)]
        for name in expected
    }
    chosen = [name for name, rows in names.items() if any(map(settings.chooses, rows))]
    if not chosen:
        every = [row for rows in names.values() for row in rows]
        raise unknown("row", settings.only[0], every, "--only")
    return chosen


def _name(conversion: str, place: Runtime | None) -> str:
    """Return a row's name, `tflite/int8 in litert xnnpack`; without a runtime, the conversion's name."""
    return f"{conversion} in {place.name}" if place else conversion


def plan(
    run: Run,
    artifacts: Mapping[str, Artifact | None],
    runners: Sequence[Runner],
    toolchains: Mapping[str, Toolchain],
    settings: ValidateConfig,
    misfits: Mapping[str, Sequence[str]] | None = None,
    remarks: Mapping[str, Sequence[str]] | None = None,
) -> list[Row]:
    """Return the rows: each conversion that was asked for, in each runtime of its target.

    artifacts: by conversion; None: it left no artifact. misfits: by conversion, what its file says of itself wrongly;
    remarks: what in it is worth a warning.
    """
    rows = [
        _row(run, name, artifact, place, settings)
        for name, artifact in artifacts.items()
        for place in _places(name.partition("/")[0], runners, toolchains)
        if settings.chooses(_name(name, place))
    ]
    wrong, told = ({name: tuple(sentences) for name, sentences in (each or {}).items()} for each in (misfits, remarks))
    return [
        replace(row, misfits=wrong.get(name, ()), remarks=told.get(name, ()))
        for row, name in ((row, f"{row.target}/{row.precision}") for row in rows)
    ]


def _places(target: str, runners: Sequence[Runner], toolchains: Mapping[str, Toolchain]) -> Sequence[Runtime | None]:
    """Return the runtimes that run artifacts of a target; None alone: there is none."""
    runtimes = [
        Runtime(runner, backend, toolchains[runner.toolchain])
        for runner in runners
        if runner.target == target
        for backend in runner.backends
    ]
    return runtimes or [None]


def _row(run: Run, name: str, artifact: Artifact | None, place: Runtime | None, settings: ValidateConfig) -> Row:
    target, _, precision = name.partition("/")
    if place is None:
        reason = f"no runner for target {target}. Add validate/runtimes/runners/{target}_in_<runtime>.py."
        return Row(artifact, target, precision, "none", "", f"anywhere validate {run.name}", absent=reason)
    row_name = f"{name} in {place.name}"
    absent, excused = _absent(run, name, artifact, place, settings)
    return Row(
        artifact,
        target,
        precision,
        place.runner.runtime,
        place.backend,
        f'anywhere validate {run.name} --only "{row_name}"{_decided(precision, settings)}',
        run.log("validate", row_name.replace(" in ", "-").replace(" ", "-")).relative_to(run.folder),
        settings.tolerance,
        place.runner.language,
        place,
        absent,
        excused or settings.accepts(row_name),
    )


def _decided(precision: str, settings: ValidateConfig) -> str:
    """Return the option of a row's command for further samples; empty: it takes none."""
    return f" --decisions {settings.decisions}" if settings.decisions and precision in INTEGERS else ""


def _absent(
    run: Run, name: str, artifact: Artifact | None, place: Runtime, settings: ValidateConfig
) -> tuple[str, bool]:
    """Return why a row is not run, and whether that is excused; an empty reason: it is run."""
    if settings.leaves_out(f"{name} in {place.name}"):
        return LEFT_OUT, True
    if artifact is None:
        log = run.log("export", name)
        return f"it was to be exported, but there is no artifact. See {log}, then: anywhere export {run.name}.", False
    reason = place.absent(build=settings.require == "all")
    return reason, bool(reason) and place.optional and settings.require != "all"
