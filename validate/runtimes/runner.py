"""What a runner is, and which there are: a file in `runners/` beside this one, `<target>_in_<runtime>.py`.

    TOOLCHAIN = "torch"                        # whose environment runs the file
    BACKENDS = ["xnnpack", "builtin"]          # ways the runtime can compute it, each judged; none: it has one
    SAMPLES = 256                              # golden inputs it takes at most; slow runtimes take fewer
    NEEDS = ["chromium"]                       # programs it cannot bring along, see validate/runtimes/programs.py

    def version() -> str: ...
    def activate(path: Path, manifest: dict, threads: int, backend: str) -> infer   # named arrays → named arrays

`infer` takes what the manifest says the artifact takes: golden inputs are brought into its layout and type before, as
an app has to, and its outputs back. `measure` runs in the toolchain, next to the runner: standard library, numpy and
safetensors only. A runner in JavaScript, `.mjs`, is the same with `export const`; its `measure` is in measure.mjs or,
for one that needs Chromium, in chromium.mjs.
"""

import importlib.util
import math
import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from export.target import constants
from records.golden import INPUT, PATTERN, PREPARED, Actual
from records.tensor import Array, Arrays, Tensor, tensors_from
from validate.runtimes.job import Budget, Files, Job, Latency, Measured

FOLDER = Path(__file__).parent / "runners"
BATCH = 32
"""Samples per call while outputs are collected."""
LEAST = 4
"""Samples that are run however long they take: fewer say nothing about decisions."""
LEAST_PATTERNS = 2
"""Patterns that are, too: black and white."""
PROBED = 2
"""Samples that are run once more, and each alone."""


class Refused(Exception):
    """The runtime says that it cannot run this artifact, and which version could."""


@dataclass(frozen=True)
class Runner:
    """One target in one runtime."""

    name: str
    file: Path
    target: str
    runtime: str
    toolchain: str
    backends: tuple[str, ...]
    """Empty strings: the runtime has one way of computing."""
    samples: Mapping[str, int]
    """By backend."""
    limit_s: float
    """Seconds one artifact may take, loading and all calls together."""
    budget: Budget
    """How much is run of it."""
    needs: tuple[str, ...]
    """Programs that must be on the machine."""

    @property
    def harness(self) -> Path:
        """The file whose `measure` runs it."""
        here = Path(__file__)
        if self.file.suffix == ".py":
            return here
        return here.with_name("chromium.mjs" if "chromium" in self.needs else "measure.mjs")

    @property
    def language(self) -> Literal["python", "node", "chromium"]:
        """In which an app for this runtime prepares an image file."""
        return "python" if self.file.suffix == ".py" else "chromium" if "chromium" in self.needs else "node"


def find(folder: Path = FOLDER) -> list[Runner]:
    """Every runner, by name."""
    files = [file for file in folder.glob("*_in_*") if file.suffix in {".py", ".mjs"}]
    return [_read(file, constants(file)) for file in sorted(files)]


def _read(file: Path, values: Mapping[str, Any]) -> Runner:
    target, _, runtime = file.stem.partition("_in_")
    backends = tuple(values.get("BACKENDS", [""]))
    samples = values.get("SAMPLES", 256)
    return Runner(
        file.stem,
        file,
        target,
        runtime,
        values["TOOLCHAIN"],
        backends,
        samples if isinstance(samples, dict) else dict.fromkeys(backends, samples),
        float(values.get("LIMIT_S", 300)),
        Budget(**{key.lower(): values[key] for key in ("COLLECT_S",) if key in values}),
        tuple(values.get("NEEDS", [])),
    )


def measure(**record: Any) -> dict[str, Any]:
    """Run golden inputs, a few of them once more, image files and patterns through an artifact, as a `Job` says.

    Outputs go to the job's file, as `Actual` has them; the rest is returned, as `Measured` has it.
    """
    from safetensors.numpy import save_file

    job = Job.read(record)
    module = _load(job.runner)
    infer = module.activate(job.path, dict(job.manifest), job.threads, job.backend)
    session = Session(infer, tensors_from(job.manifest["inputs"]), tensors_from(job.manifest["outputs"]))
    inputs = session.stored(_rows(job.golden, session.inputs, INPUT, job.samples))
    outputs, samples = session.collect(inputs, job.budget.collect_s, LEAST)
    few = {name: value[:PROBED] for name, value in inputs.items()}
    prepared, training, patterns = _beside(job.probes, session.inputs)
    files, trained, from_file = session.compare(prepared, training, job.budget.files_s)
    actual = Actual(
        golden=outputs,
        together=session.run(few, session.batch),
        again=session.run(few, session.batch),
        alone=session.run(few, 1) if session.batch > 1 else {},
        file=files,
        training=trained,
        pattern=session.collect(session.stored(patterns), job.budget.patterns_s, LEAST_PATTERNS, batch=1)[0],
    )
    save_file(actual.arrays(), job.out)
    times = _latency(infer, {name: value[:1] for name, value in inputs.items()}, job.budget)
    p90 = times[0] if len(times) == 1 else statistics.quantiles(times, n=10, method="inclusive")[8]
    latency = Latency(statistics.median(times), p90, len(times), 1, job.threads)
    return asdict(Measured(module.version(), samples, latency, from_file))


@dataclass(frozen=True)
class Session:
    """An artifact that was loaded, and what it takes and gives."""

    infer: Callable[[Arrays], Arrays]
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]

    @property
    def batch(self) -> int:
        """Samples of one call: those that the artifact is for, or `BATCH`."""
        fixed = self.inputs[0].shape[0]
        return fixed if isinstance(fixed, int) else BATCH

    def stored(self, arrays: Arrays) -> dict[str, Array]:
        """Turn inputs as the checkpoint has them into the artifact's layout and type."""
        return {tensor.name: tensor.stored(arrays[tensor.name]) for tensor in self.inputs if tensor.name in arrays}

    def call(self, inputs: Arrays) -> dict[str, Array]:
        """Run stored inputs; outputs are as golden has them, and one that no tensor names is a copy."""
        named = {tensor.name: tensor for tensor in self.outputs}
        return {
            name: named[name].restored(value) if name in named else np.array(value)
            for name, value in self.infer(inputs).items()
        }

    def collect(
        self, inputs: Arrays, limit_s: float, least: int, batch: int | None = None
    ) -> tuple[dict[str, Array], int]:
        """Run stored inputs in batches; after `limit_s` seconds no further one is begun, once `least` are done.

        → outputs, and how many inputs were run.
        """
        batch, count, done = batch or self.batch, _count(inputs), 0
        parts, end = list[Arrays](), time.perf_counter() + limit_s
        while done < count and (done < least or time.perf_counter() < end):
            parts.append(self.call({name: value[done : done + batch] for name, value in inputs.items()}))
            done = min(done + batch, count)
        return _joined(parts), done

    def run(self, inputs: Arrays, batch: int) -> dict[str, Array]:
        """Run all stored inputs in batches of that size."""
        return self.collect(inputs, math.inf, 0, batch)[0]

    def compare(
        self, prepared: Arrays, training: Arrays, limit_s: float
    ) -> tuple[dict[str, Array], dict[str, Array], Files | None]:
        """Run images as an app prepared them, and the same as training did, one by one, as many of each.

        → outputs of both, and how far the inputs lie apart. No images: nothing.
        """
        if not prepared:
            return {}, {}, None
        ours, theirs = self.stored(prepared), self.stored(training)
        parts: list[tuple[Arrays, Arrays]] = []
        end = time.perf_counter() + limit_s
        while (done := len(parts)) < _count(ours) and (not done or time.perf_counter() < end):
            one, other = ({name: value[done : done + 1] for name, value in way.items()} for way in (ours, theirs))
            parts.append((self.call(one), self.call(other)))
        apart = [
            np.abs(ours[tensor.name][:done].astype(np.float64) - theirs[tensor.name][:done]).max() * (tensor.scale or 1)
            for tensor in self.inputs
        ]
        files = Files(len(parts), 255 * float(np.max(apart)))
        return _joined([pair[0] for pair in parts]), _joined([pair[1] for pair in parts]), files


def _rows(file: Path, tensors: Iterable[Tensor], kind: str, count: int | None = None) -> dict[str, Array]:
    """Read arrays of one kind for these tensors, their first rows; none where the file has none."""
    from safetensors import safe_open

    with safe_open(file, framework="numpy") as opened:
        known = set(opened.keys())
        names = {tensor.name: f"{kind}.{tensor.name}" for tensor in tensors}
        return {name: opened.get_tensor(key)[:count] for name, key in names.items() if key in known}


def _beside(probes: Path | None, tensors: Sequence[Tensor]) -> tuple[Arrays, Arrays, Arrays]:
    """Read image files as an app prepared them, the same as training did, and patterns."""
    if probes is None:
        return {}, {}, {}
    prepared, training = _rows(probes, tensors, PREPARED), _rows(probes, tensors, INPUT)
    return prepared, training, _rows(probes, tensors, f"{PATTERN}.{INPUT}")


def _count(arrays: Arrays) -> int:
    """Return how many samples there are."""
    return min((len(value) for value in arrays.values()), default=0)


def _joined(parts: Sequence[Arrays]) -> dict[str, Array]:
    """Put the samples of all parts into one array a name."""
    names = parts[0] if parts else {}
    return {name: np.ascontiguousarray(np.concatenate([part[name] for part in parts])) for name in names}


def _latency(infer: Callable[[Arrays], Arrays], one: Arrays, budget: Budget) -> list[float]:
    """Return milliseconds of calls with one sample."""
    end = time.perf_counter() + budget.warm_up_s
    for _ in range(budget.warm_up):
        if time.perf_counter() < end:
            infer(one)
    times: list[float] = []
    end = time.perf_counter() + budget.timed_s
    while len(times) < max(1, budget.timed) and (not times or time.perf_counter() < end):
        start = time.perf_counter()
        infer(one)
        times.append((time.perf_counter() - start) * 1e3)
    return times


def _load(file: Path) -> Any:
    spec = importlib.util.spec_from_file_location(file.stem, file)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
