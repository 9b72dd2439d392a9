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
import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from export.target import constants
from records.tensor import Array, Arrays, Tensor, tensors_from

FOLDER = Path(__file__).parent / "runners"
BATCH = 32
"""Samples per call while outputs are collected."""
COLLECT_S = 60.0
"""Seconds after which no further batch is run: a slow runtime takes fewer samples."""
LEAST = 4
"""Samples that are run however long they take: fewer say nothing about decisions."""
PROBED = 2
"""Samples that are run once more, and each alone."""
FILES_S = 5.0
"""Seconds after which no further image file is run."""
PATTERNS_S, LEAST_PATTERNS = 10.0, 2
"""Seconds after which no further pattern is run; patterns that are, however long they take: black and white."""
WARM_UP, TIMED = 5, 50
"""Calls with one sample before and while latency is taken."""
WARM_UP_S, TIMED_S = 1.0, 5.0
"""Seconds after which no further call is made before, and while latency is taken."""


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
    collect_s: float
    """Seconds after which no further golden input is run."""
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
        float(values.get("COLLECT_S", COLLECT_S)),
        tuple(values.get("NEEDS", [])),
    )


def measure(
    runner: str,
    path: str,
    manifest: dict[str, Any],
    golden: str,
    out: str,
    samples: int,
    threads: int,
    backend: str = "",
    collect_s: float = COLLECT_S,
    probes: str = "",
) -> dict[str, Any]:
    """Run golden inputs through an artifact; outputs go to the safetensors file `out`, by name.

    Beside them those of the first few inputs in one call, `together.<name>`; of the same call again, `again.<name>`;
    and, where the artifact takes batches, of each by itself, `alone.<name>`. With `probes`, those of image files,
    `file.<name>`, and of training's inputs of the same images, `training.<name>`; and of patterns, `pattern.<name>`.

    → runtime_version, samples, from_file {samples, input_steps}, latency_ms {median, p90, calls, batch, threads}.
    """
    from safetensors import safe_open
    from safetensors.numpy import save_file

    module = _load(runner)
    with safe_open(golden, framework="numpy") as file:
        inputs = {
            tensor.name: tensor.stored(file.get_tensor(f"input.{tensor.name}")[:samples])
            for tensor in tensors_from(manifest["inputs"])
        }
    tensors = tensors_from(manifest["outputs"])
    count = len(next(iter(inputs.values())))
    infer = module.activate(Path(path), manifest, threads, backend)
    fixed = manifest["inputs"][0]["shape"][0]
    batch = fixed if isinstance(fixed, int) else BATCH
    parts: list[Arrays] = []
    done, end = 0, time.perf_counter() + collect_s
    while done < count and (done < LEAST or time.perf_counter() < end):
        some = {name: value[done : done + batch] for name, value in inputs.items()}
        parts.append(restored(infer(some), tensors))
        done = min(done + batch, count)
    outputs = {name: np.ascontiguousarray(np.concatenate([part[name] for part in parts])) for name in parts[0]}
    beside = _probed(infer, inputs, tensors, batch)
    files, from_file = _from_files(infer, probes, manifest) if probes else ({}, None)
    patterns = _of_patterns(infer, probes, manifest) if probes else {}
    save_file(outputs | beside | files | patterns, out)
    times = _latency(infer, {name: value[:1] for name, value in inputs.items()})
    return {
        "runtime_version": module.version(),
        "samples": done,
        "from_file": from_file,
        "latency_ms": {
            "median": statistics.median(times),
            "p90": times[0] if len(times) == 1 else statistics.quantiles(times, n=10, method="inclusive")[8],
            "calls": len(times),
            "batch": 1,
            "threads": threads,
        },
    }


def _probed(
    infer: Callable[[Arrays], Arrays], inputs: Arrays, tensors: Sequence[Tensor], batch: int
) -> dict[str, Array]:
    """What tells whether outputs depend on anything but the input: on the call, or on the batch's other rows."""
    few = {name: value[:PROBED] for name, value in inputs.items()}
    count = len(next(iter(few.values())))

    def in_calls_of(size: int) -> dict[str, Array]:
        parts = [
            restored(infer({name: value[start : start + size] for name, value in few.items()}), tensors)
            for start in range(0, count, size)
        ]
        return {name: np.ascontiguousarray(np.concatenate([part[name] for part in parts])) for name in parts[0]}

    ways = {"together": batch, "again": batch} | ({"alone": 1} if batch > 1 else {})
    return {f"{way}.{name}": value for way, size in ways.items() for name, value in in_calls_of(size).items()}


def _from_files(
    infer: Callable[[Arrays], Arrays], probes: str, manifest: Mapping[str, Any]
) -> tuple[dict[str, Array], dict[str, Any]]:
    """Image files as an app prepares them, run one by one, and training's inputs of the same images.

    → outputs; samples and input_steps: the greatest difference of the inputs in 1/255.
    """
    from safetensors import safe_open

    tensors, given = tensors_from(manifest["inputs"]), tensors_from(manifest["outputs"])
    with safe_open(probes, framework="numpy") as file:
        ways = {
            way: {tensor.name: tensor.stored(file.get_tensor(f"{kind}.{tensor.name}")) for tensor in tensors}
            for way, kind in {"file": "prepared", "training": "input"}.items()
        }
    count = len(next(iter(ways["file"].values())))
    parts: dict[str, list[Arrays]] = {way: [] for way in ways}
    end = time.perf_counter() + FILES_S
    while (done := len(parts["file"])) < count and (not done or time.perf_counter() < end):
        for way, inputs in ways.items():
            one = {name: value[done : done + 1] for name, value in inputs.items()}
            parts[way].append(restored(infer(one), given))
    outputs = {
        f"{way}.{name}": np.ascontiguousarray(np.concatenate([one[name] for one in each]))
        for way, each in parts.items()
        for name in each[0]
    }
    apart = [
        np.abs(ways["file"][tensor.name][:done].astype(np.float64) - ways["training"][tensor.name][:done]).max()
        * (tensor.scale or 1)
        for tensor in tensors
    ]
    return outputs, {"samples": done, "input_steps": 255 * float(np.max(apart))}


def _of_patterns(infer: Callable[[Arrays], Arrays], probes: str, manifest: Mapping[str, Any]) -> dict[str, Array]:
    """Outputs of the checkpoint's patterns, run one by one as PyTorch did; none, where it has none."""
    from safetensors import safe_open

    tensors = {f"pattern.input.{tensor.name}": tensor for tensor in tensors_from(manifest["inputs"])}
    given = tensors_from(manifest["outputs"])
    with safe_open(probes, framework="numpy") as file:
        if not set(tensors) <= set(file.keys()):
            return {}
        inputs = {tensor.name: tensor.stored(file.get_tensor(key)) for key, tensor in tensors.items()}
    count, end = len(next(iter(inputs.values()))), time.perf_counter() + PATTERNS_S
    parts: list[Arrays] = []
    while (done := len(parts)) < count and (done < LEAST_PATTERNS or time.perf_counter() < end):
        one = {name: value[done : done + 1] for name, value in inputs.items()}
        parts.append(restored(infer(one), given))
    return {
        f"pattern.{name}": np.ascontiguousarray(np.concatenate([part[name] for part in parts])) for name in parts[0]
    }


def restored(values: Arrays, tensors: Iterable[Tensor]) -> dict[str, Array]:
    """Turn what the artifact gave, by name, into arrays as golden has them; one that no tensor names is a copy."""
    named = {tensor.name: tensor for tensor in tensors}
    return {name: named[name].restored(value) if name in named else np.array(value) for name, value in values.items()}


def _latency(infer: Callable[[Arrays], Arrays], one: Arrays) -> list[float]:
    """Milliseconds of calls with one sample."""
    end = time.perf_counter() + WARM_UP_S
    for _ in range(WARM_UP):
        if time.perf_counter() < end:
            infer(one)
    times: list[float] = []
    end = time.perf_counter() + TIMED_S
    while len(times) < TIMED and (not times or time.perf_counter() < end):
        start = time.perf_counter()
        infer(one)
        times.append((time.perf_counter() - start) * 1e3)
    return times


def _load(file: str) -> Any:
    spec = importlib.util.spec_from_file_location(Path(file).stem, file)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
