"""The records that cross to a harness and back: a job with its budget of calls, and what was measured.

    worker.call(runner.harness, "measure", Job(…).record(), log, limit_s)
    Measured.read(done.value)                  # raises ValueError for a malformed answer

Runs inside toolchains, too: the standard library only, but for `Measured.read`.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

STRICT = {"extra": "forbid", "allow_inf_nan": False}
"""Configuration of pydantic, which is not in every toolchain: an answer or a report with unknown fields is refused."""


@dataclass(frozen=True)
class Budget:
    """Limits of what is run: numbers of calls, and seconds after which no further call is begun."""

    collect_s: float = 30.0
    """Seconds for golden inputs: a slow runtime takes fewer."""
    call_s: float = 4.0
    """Seconds of one call: where an artifact takes any number of samples, it is given no more than that allows."""
    files_s: float = 5.0
    """Seconds for image files."""
    patterns_s: float = 10.0
    """Seconds for patterns."""
    batches_s: float = 1.0
    """Seconds for calls with other numbers of samples."""
    fresh_s: float = 1.0
    """Seconds for inputs that were made anew."""
    further_s: float = 30.0
    """Seconds for further samples: where all would take more, by the time that golden took, none is run."""
    warm_up: int = 5
    """Calls with one sample before latency is taken; fewer if they are slow: see `warm_up_s`."""
    warm_up_s: float = 1.0
    """Seconds after which no further one of them is begun."""
    timed: int = 50
    """Calls with one sample whose latency is taken; fewer if they are slow: see `timed_s`."""
    timed_s: float = 5.0
    """Seconds after which no further one of them is begun."""


@dataclass(frozen=True)
class Job:
    """One artifact to be run on golden inputs, by a runner on one of its backends."""

    runner: Path
    path: Path
    """The file or folder that the runtime loads."""
    manifest: Mapping[str, Any]
    """What a runner reads of the artifact's manifest: inputs, outputs, min_runtime_version."""
    golden: Path
    out: Path
    """The safetensors file that outputs are written to, as `Actual`'s arrays."""
    samples: int
    """Number of golden inputs, at most."""
    threads: int
    backend: str = ""
    """One of the runner's backends; empty: the runtime has only one."""
    probes: Path | None = None
    """The file of image files and patterns; None: there are none."""
    batches: tuple[int, ...] = ()
    """Numbers of golden inputs that are run in one call each, in this order; none: the artifact takes one number."""
    further: tuple[Path, ...] = ()
    """Files of further samples, for decisions alone."""
    further_samples: int = 0
    """Number of samples in all of them."""
    budget: Budget = field(default_factory=Budget)

    def record(self) -> dict[str, Any]:
        """Return it as JSON can hold it, with absolute paths."""
        paths = {key: str(path.absolute()) if path else "" for key, path in self._paths().items()}
        further = [str(path.absolute()) for path in self.further]
        return {**asdict(self), **paths, "further": further, "manifest": dict(self.manifest)}

    @classmethod
    def read(cls, record: Mapping[str, Any]) -> "Job":
        """Return the job that `record` wrote."""
        paths = {key: Path(record[key]) for key in ("runner", "path", "golden", "out")}
        probes = Path(record["probes"]) if record.get("probes") else None
        budget = Budget(**record.get("budget", {}))
        batches = tuple(record.get("batches", ()))
        further = tuple(map(Path, record.get("further", ())))
        values = {**record, **paths, "probes": probes, "batches": batches, "further": further, "budget": budget}
        return cls(**values)

    def _paths(self) -> dict[str, Path | None]:
        return {
            "runner": self.runner,
            "path": self.path,
            "golden": self.golden,
            "out": self.out,
            "probes": self.probes,
        }


@dataclass(frozen=True)
class Latency:
    """Milliseconds of one call with one sample, after warm-up."""

    __pydantic_config__ = STRICT

    median: float
    p90: float
    calls: int
    batch: int
    threads: int


@dataclass(frozen=True)
class Files:
    """How image files that an app prepared compare with training's inputs."""

    samples: int
    input_steps: float | None
    """Greatest difference of the inputs in 1/255; None: not a number, for which JSON has no word."""


@dataclass(frozen=True)
class Taken:
    """How many of the further samples were run: all or none."""

    __pydantic_config__ = STRICT

    samples: int
    seconds: float
    """That they took; of none, that all would have taken by golden's own time."""


@dataclass(frozen=True)
class Measured:
    """The answer of a harness to a job, beside the arrays it wrote."""

    runtime_version: str
    samples: int
    """Number of golden inputs that were run."""
    latency_ms: Latency
    from_file: Files | None = None
    """None: there were no image files."""
    further: Taken | None = None
    """None: there were no further samples."""

    @classmethod
    def read(cls, record: Any) -> "Measured":
        """Return a harness's answer, checked. Raises ValueError where anything is missing or of another type."""
        from pydantic import ValidationError

        try:
            measured: Measured = _adapter().validate_python(record)
            return measured
        except ValidationError as error:
            problem = error.errors()[0]
            where = ".".join(map(str, problem["loc"])) or "all of it"
            raise ValueError(f"the harness's answer is none ({where}: {problem['msg']})") from error


@cache
def _adapter() -> Any:
    from pydantic import TypeAdapter

    return TypeAdapter(Measured)
