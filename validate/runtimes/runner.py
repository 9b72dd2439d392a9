"""What a runner is, and which there are: a file in `runners/` beside this one, `<target>_in_<runtime>.py`.

    TOOLCHAIN = "torch"                        # whose environment runs the file
    BACKENDS = ["xnnpack", "builtin"]          # ways the runtime can compute it, each judged; none: it has one
    SAMPLES = 256                              # golden inputs it takes at most, without it all; slow ones take fewer
    NEEDS = ["chromium"]                       # programs it cannot bring along, see validate/runtimes/programs.py
    ENVIRONMENT = {"NAME": "value"}            # variables its process is started with
    ONE_SHAPE = ["webgl"]                      # backends that compile anew for each shape: run in one batch size

SAMPLES and ENVIRONMENT may also be given for each backend: {"xnnpack": 256, "builtin": 64}.

    def version() -> str: ...
    def activate(path: Path, manifest: dict, threads: int, backend: str) -> infer   # named arrays → named arrays

`infer` takes the inputs that the manifest describes: golden inputs are brought into their layout and type before, as an
app has to do, and its outputs back. `measure` runs in the toolchain, next to the runner: standard library, numpy and
safetensors only. A runner in JavaScript, `.mjs`, is the same with `export const`; its `measure` is in measure.mjs or,
for one that needs Chromium, in chromium.mjs.
"""

import importlib.util
import itertools
import math
import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from records.constants import constants
from records.golden import FRESH, INPUT, PATTERN, PREPARED, SIZED, Actual
from records.tensor import Array, Arrays, Tensor, tensors_from
from validate.runtimes.job import Budget, Files, Job, Latency, Measured, Taken

FOLDER = Path(__file__).parent / "runners"
BATCH = 32
"""Samples per call while outputs are collected, at most."""
ALL = 2**31 - 1
"""Samples: as many as golden has, and time allows."""
LEAST = 4
"""Samples that are run in any case, however slow the runtime: fewer say nothing about decisions."""
LEAST_PATTERNS = 2
"""Patterns that are run in any case: black and white."""
PROBED = 2
"""Samples that are run a second time, and each alone."""
LEAST_FRESH = 2
"""Inputs made anew that are run in any case."""


class Refused(Exception):
    """The error that a runtime cannot run this artifact, with the version that could."""


@dataclass(frozen=True)
class Runner:
    """A file that runs one target in one runtime."""

    name: str
    file: Path
    target: str
    runtime: str
    toolchain: str
    backends: tuple[str, ...]
    """Ways the runtime can compute an artifact; one empty string: it has only one."""
    samples: Mapping[str, int]
    """Greatest number of golden inputs, by backend."""
    limit_s: float
    """Seconds one artifact may take, loading and all calls together."""
    budget: Budget
    """Limits of what is run of an artifact."""
    needs: tuple[str, ...]
    """Programs that must be on the machine."""
    environment: Mapping[str, Mapping[str, str]]
    """By backend: variables its process is started with."""
    one_shape: tuple[str, ...] = ()
    """Backends that compile anew for each shape, and are run in one batch size."""

    @property
    def harness(self) -> Path:
        """Return the file whose `measure` feeds it."""
        this_file = Path(__file__)
        if self.file.suffix == ".py":
            return this_file
        return this_file.with_name("chromium.mjs" if "chromium" in self.needs else "measure.mjs")

    @property
    def language(self) -> Literal["python", "node", "chromium"]:
        """Return the language in which an app for this runtime prepares an image file."""
        return "python" if self.file.suffix == ".py" else "chromium" if "chromium" in self.needs else "node"


def find(folder: Path = FOLDER) -> list[Runner]:
    """Return every runner, by name."""
    files = [file for file in folder.glob("*_in_*") if file.suffix in {".py", ".mjs"}]
    return [_read(file, constants(file)) for file in sorted(files)]


def _read(file: Path, values: Mapping[str, Any]) -> Runner:
    target, _, runtime = file.stem.partition("_in_")
    backends = tuple(values.get("BACKENDS", [""]))
    samples = values.get("SAMPLES", ALL)
    environment = values.get("ENVIRONMENT", {})
    by_backend = any(isinstance(variables, dict) for variables in environment.values())
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
        {backend: environment[backend] if by_backend else environment for backend in backends},
        tuple(values.get("ONE_SHAPE", [])),
    )


def measure(**record: Any) -> dict[str, Any]:
    """Run an artifact as a `Job` says, write its outputs and return the record of a `Measured`.

    Runs golden inputs, a few of them once more, image files and patterns. Outputs are written to the job's file as
    `Actual`'s arrays.
    """
    from safetensors.numpy import save_file

    job = Job.read(record)
    module = _load(job.runner)
    infer = module.activate(job.path, dict(job.manifest), job.threads, job.backend)
    session = Session(infer, tensors_from(job.manifest["inputs"]), tensors_from(job.manifest["outputs"]))
    inputs = session.stored(_rows(job.golden, session.inputs, INPUT, job.samples))
    session = session.paced(inputs, job.budget.call_s) if job.batches else session
    start = time.perf_counter()
    outputs, samples = session.collect(inputs, job.budget.collect_s, LEAST)
    each_s = (time.perf_counter() - start) / max(1, samples)
    few = {name: value[:PROBED] for name, value in inputs.items()}
    prepared, training, patterns = _beside(job.probes, session.inputs)
    files, trained, from_file = session.compare(prepared, training, job.budget.files_s)
    further, taken = session.beyond(job, each_s)
    actual = Actual(
        golden=outputs,
        together=session.run(few, session.batch),
        again=session.run(few, session.batch),
        alone=session.run(few, 1) if session.batch > 1 else {},
        file=files,
        training=trained,
        pattern=session.collect(session.stored(patterns), job.budget.patterns_s, LEAST_PATTERNS, batch=1)[0],
        sized=session.resized(job.probes),
        batches=session.batched(inputs, [size for size in job.batches if size <= samples], job.budget, each_s),
        fresh=session.anew(job.probes, job.budget.fresh_s),
        further=further,
    )
    times, last = session.timed({name: value[:1] for name, value in inputs.items()}, job.budget)
    save_file(replace(actual, last=last).arrays(), job.out)
    p90 = times[0] if len(times) == 1 else statistics.quantiles(times, n=10, method="inclusive")[8]
    latency = Latency(statistics.median(times), p90, len(times), 1, job.threads)
    return asdict(Measured(module.version(), samples, latency, from_file, taken))


@dataclass(frozen=True)
class Session:
    """An artifact that was loaded, with the tensors that it takes and returns."""

    infer: Callable[[Arrays], Arrays]
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    most: int = BATCH
    """Samples of one call, at most, where the artifact takes any number."""

    @property
    def batch(self) -> int:
        """Return the samples of one call: the artifact's fixed batch size, or `most`."""
        fixed = self.inputs[0].shape[0]
        return fixed if isinstance(fixed, int) else self.most

    def paced(self, inputs: Arrays, call_s: float) -> "Session":
        """Return a session whose calls take no more samples than a call's seconds allow, by the time of one."""
        one = {name: value[:1] for name, value in inputs.items()}
        for _ in range(2):  # the first may have prepared something
            start = time.perf_counter()
            self.infer(one)
            each_s = time.perf_counter() - start
            if self.most * each_s <= call_s:
                return self
        return replace(self, most=max(1, int(call_s / each_s)))

    def stored(self, arrays: Arrays) -> dict[str, Array]:
        """Return inputs, given as the checkpoint has them, in the artifact's layout and type."""
        return {tensor.name: tensor.stored(arrays[tensor.name]) for tensor in self.inputs if tensor.name in arrays}

    def call(self, inputs: Arrays) -> dict[str, Array]:
        """Return the outputs for stored inputs as golden has them; an output that no tensor names is a copy."""
        return self._restored(self.infer(inputs))

    def _restored(self, values: Arrays) -> dict[str, Array]:
        named = {tensor.name: tensor for tensor in self.outputs}
        return {
            name: named[name].restored(value) if name in named else np.array(value) for name, value in values.items()
        }

    def collect(
        self, inputs: Arrays, limit_s: float, least: int, batch: int | None = None
    ) -> tuple[dict[str, Array], int]:
        """Run stored inputs in batches; return their outputs and how many inputs were run.

        Once `least` inputs are done, no further batch is begun after `limit_s` seconds.
        """
        batch, count, done = batch or self.batch, _count(inputs), 0
        parts, end = list[Arrays](), time.perf_counter() + limit_s
        while done < count and (done < least or time.perf_counter() < end):
            parts.append(self.call({name: value[done : done + batch] for name, value in inputs.items()}))
            done = min(done + batch, count)
        return _joined(parts), done

    def run(self, inputs: Arrays, batch: int) -> dict[str, Array]:
        """Return the outputs for all stored inputs, run in batches of that size."""
        return self.collect(inputs, math.inf, 0, batch)[0]

    def resized(self, probes: Path | None) -> dict[str, Array]:
        """Return the outputs at other heights and widths, `0.logits`; none, where the artifact takes one."""
        outputs: dict[str, Array] = {}
        if probes is None or not any(tensor.any_size for tensor in self.inputs):
            return outputs
        for number in itertools.count():
            inputs = _rows(probes, self.inputs, f"{SIZED}.{number}.{INPUT}")
            if not inputs:
                return outputs
            few = self.run(self.stored(inputs), self.batch)
            outputs |= {f"{number}.{name}": value for name, value in few.items()}
        return outputs

    def batched(self, inputs: Arrays, sizes: Sequence[int], budget: Budget, each_s: float) -> dict[str, Array]:
        """Return the outputs of the first stored inputs in one call, by each number of them and name: `33.logits`.

        No further call is begun after the budget's seconds. The number that golden was run in is left out, and of an
        artifact that is slow all but the least; each_s: seconds that a golden input took.
        """
        outputs: dict[str, Array] = {}
        others = [size for size in sizes if size != self.batch]
        affordable = [size for size in others if size * each_s <= budget.call_s] or sorted(others)[:1]
        end = time.perf_counter() + budget.batches_s
        for size in affordable:
            if time.perf_counter() < end:
                called = self.call({name: value[:size] for name, value in inputs.items()})
                outputs |= {f"{size}.{name}": np.ascontiguousarray(value) for name, value in called.items()}
        return outputs

    def anew(self, probes: Path | None, limit_s: float) -> dict[str, Array]:
        """Return the outputs for inputs made anew, as many as `limit_s` seconds allow; none: there are none."""
        inputs = self.stored(_rows(probes, self.inputs, f"{FRESH}.{INPUT}")) if probes else {}
        return self.collect(inputs, limit_s, LEAST_FRESH, min(self.batch, LEAST_FRESH))[0]

    def beyond(self, job: Job, each_s: float) -> tuple[dict[str, Array], Taken | None]:
        """Return the outputs for all further samples, file by file; none, where they would take longer than allowed.

        each_s: seconds that a golden input took. Also returned: how many were run; None: there are none.
        """
        if not job.further:
            return {}, None
        expected_s = each_s * job.further_samples
        if expected_s > job.budget.further_s:
            return {}, Taken(0, expected_s)
        start = time.perf_counter()
        outputs = _joined([self.run(self.stored(_rows(file, self.inputs, INPUT)), self.batch) for file in job.further])
        return outputs, Taken(_count(outputs), time.perf_counter() - start)

    def timed(self, inputs: Arrays, budget: Budget) -> tuple[list[float], dict[str, Array]]:
        """Return the milliseconds of each call with one stored sample, and the outputs of the last."""
        times, last = _latency(self.infer, inputs, budget)
        return times, {name: np.ascontiguousarray(value) for name, value in self._restored(last).items()}

    def compare(
        self, prepared: Arrays, training: Arrays, limit_s: float
    ) -> tuple[dict[str, Array], dict[str, Array], Files | None]:
        """Run images as an app prepared them and as training did, one by one, and return the outputs of both.

        Also returned: how far the inputs lie apart. Without images all is empty. As many of each are run as `limit_s`
        seconds allow.
        """
        if not prepared:
            return {}, {}, None
        app_inputs, training_inputs = self.stored(prepared), self.stored(training)
        parts: list[tuple[Arrays, Arrays]] = []
        end = time.perf_counter() + limit_s
        while (done := len(parts)) < _count(app_inputs) and (not done or time.perf_counter() < end):
            app_image, training_image = (
                {name: value[done : done + 1] for name, value in arrays.items()}
                for arrays in (app_inputs, training_inputs)
            )
            parts.append((self.call(app_image), self.call(training_image)))
        apart = [
            np.abs(app_inputs[tensor.name][:done].astype(np.float64) - training_inputs[tensor.name][:done]).max()
            * (tensor.scale or 1)
            for tensor in self.inputs
        ]
        files = Files(len(parts), 255 * float(np.max(apart)))
        return _joined([pair[0] for pair in parts]), _joined([pair[1] for pair in parts]), files


def _rows(file: Path, tensors: Iterable[Tensor], kind: str, count: int | None = None) -> dict[str, Array]:
    """Read the first rows of the arrays of one kind for these tensors; those that the file has."""
    from safetensors import safe_open

    with safe_open(file, framework="numpy") as opened:
        keys = set(opened.keys())
        names = {tensor.name: f"{kind}.{tensor.name}" for tensor in tensors}
        return {name: opened.get_tensor(key)[:count] for name, key in names.items() if key in keys}


def _beside(probes: Path | None, tensors: Sequence[Tensor]) -> tuple[Arrays, Arrays, Arrays]:
    """Read image files as an app prepared them, the same as training did, and patterns."""
    if probes is None:
        return {}, {}, {}
    prepared, training = _rows(probes, tensors, PREPARED), _rows(probes, tensors, INPUT)
    as_an_app = {**training, **prepared} if prepared else {}  # what is no picture is the same for both
    return as_an_app, training, _rows(probes, tensors, f"{PATTERN}.{INPUT}")


def _count(arrays: Arrays) -> int:
    """Return how many samples there are."""
    return min((len(value) for value in arrays.values()), default=0)


def _joined(parts: Sequence[Arrays]) -> dict[str, Array]:
    """Return one array per name with the samples of all parts."""
    names = parts[0] if parts else {}
    return {name: np.ascontiguousarray(np.concatenate([part[name] for part in parts])) for name in names}


def _latency(infer: Callable[[Arrays], Arrays], inputs: Arrays, budget: Budget) -> tuple[list[float], Arrays]:
    """Return the milliseconds of each call with one sample, after warm-up, and what the last one returned."""
    end = time.perf_counter() + budget.warm_up_s
    for _ in range(budget.warm_up):
        if time.perf_counter() < end:
            infer(inputs)
    times: list[float] = []
    last: Arrays = {}
    end = time.perf_counter() + budget.timed_s
    while len(times) < max(1, budget.timed) and (not times or time.perf_counter() < end):
        start = time.perf_counter()
        last = infer(inputs)
        times.append((time.perf_counter() - start) * 1e3)
    return times, last


def _load(file: Path) -> Any:
    spec = importlib.util.spec_from_file_location(file.stem, file)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
