"""What a runner is, and which there are: a runner is a file in `validate/runners/` named `<target>_in_<runtime>.py`.

    TOOLCHAIN = "torch"                        # whose environment runs the file
    SAMPLES = 256                              # golden inputs it takes at most; slow runtimes take fewer

    def version() -> str: ...
    def activate(path: Path, manifest: dict, threads: int) -> infer      # infer(named arrays) → named arrays

`measure` runs in the toolchain, next to the runner: standard library, numpy and safetensors only.
"""

import importlib.util
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from export.target import constants

if TYPE_CHECKING:
    import numpy as np

    Arrays = Mapping[str, np.ndarray[Any, Any]]

FOLDER = Path(__file__).parent / "runners"
BATCH = 32
"""Samples per call while outputs are collected."""
WARM_UP, TIMED = 5, 50
"""Calls with one sample before and while latency is taken."""
TIMED_S = 10.0
"""Seconds after which no further call is timed."""


@dataclass(frozen=True)
class Runner:
    """One target in one runtime."""

    name: str
    file: Path
    target: str
    runtime: str
    toolchain: str
    samples: int
    limit_s: float
    """Seconds one artifact may take, loading and all calls together."""


def find(folder: Path = FOLDER) -> list[Runner]:
    """Every runner, by name."""
    return [_read(file, constants(file)) for file in sorted(folder.glob("*_in_*.py"))]


def _read(file: Path, values: Mapping[str, Any]) -> Runner:
    target, _, runtime = file.stem.partition("_in_")
    return Runner(
        file.stem,
        file,
        target,
        runtime,
        values["TOOLCHAIN"],
        int(values.get("SAMPLES", 256)),
        float(values.get("LIMIT_S", 300)),
    )


def measure(
    runner: str, path: str, manifest: dict[str, Any], golden: str, out: str, samples: int, threads: int
) -> dict[str, Any]:
    """Run golden inputs through an artifact; outputs go to the safetensors file `out`, by name.

    → runtime_version, samples, latency_ms {median, p90, calls, batch, threads}.
    """
    import numpy as np
    from safetensors import safe_open
    from safetensors.numpy import save_file

    module = _load(runner)
    with safe_open(golden, framework="numpy") as file:
        keys = [key for key in file.keys() if key.startswith("input.")]  # noqa: SIM118  # it is no mapping
        inputs = {key.removeprefix("input."): file.get_tensor(key)[:samples] for key in keys}
    count = len(next(iter(inputs.values())))
    infer = module.activate(Path(path), manifest, threads)
    parts = [
        infer({name: value[start : start + BATCH] for name, value in inputs.items()})
        for start in range(0, count, BATCH)
    ]
    outputs = {name: np.ascontiguousarray(np.concatenate([part[name] for part in parts])) for name in parts[0]}
    save_file(outputs, out)
    times = _latency(infer, {name: value[:1] for name, value in inputs.items()})
    return {
        "runtime_version": module.version(),
        "samples": count,
        "latency_ms": {
            "median": statistics.median(times),
            "p90": times[0] if len(times) == 1 else statistics.quantiles(times, n=10, method="inclusive")[8],
            "calls": len(times),
            "batch": 1,
            "threads": threads,
        },
    }


def _latency(infer: Callable[["Arrays"], "Arrays"], one: "Arrays") -> list[float]:
    """Milliseconds of calls with one sample."""
    for _ in range(WARM_UP):
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
