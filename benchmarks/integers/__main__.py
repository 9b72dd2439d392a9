"""Compare int8 by every tool on runs that are there, and print a table.

python -m benchmarks.integers digits mine [--samples 1000] [--also nncf,aimet]

SQNR in dB as validation judges it (each golden sample's noise against its own outputs, without the hundredth farthest
off), and what nine of ten single samples exceed; agreement of decisions with PyTorch's; what the metric falls by.
"""

import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from safetensors.numpy import load_file, save_file

from benchmarks.zoo.measure import anywhere, failed
from export.graphs.onnx_runtime import run as run_onnx
from export.quantize.calibration import calibration
from export.quantize.quantizing import count
from export.run import Run
from export.target import find
from measures import tasks
from measures.distance import agreement, sqnr_db, sqnr_of_most_db
from pipeline.checkpoint import Checkpoint
from records.tensor import Arrays
from workers import registry
from workers.worker import WorkerFailed

JOB = Path(__file__).with_name("tflite_job.py")
TOOLCHAINS = Path(__file__).parents[1] / "toolchains"
LIMIT_S = 3600.0
HEAD = """\
| network | tool | runtime | dB | single dB | agreement | points lost | MB |
| --- | --- | --- | ---: | ---: | ---: | ---: | ---: |"""


def main(
    runs: Annotated[list[str], typer.Argument(help="Names of runs.")],
    samples: Annotated[int, typer.Option(help="Golden samples, at most.")] = 1000,
    also: Annotated[str, typer.Option(help="nncf, aimet: built on first use; aimet takes 6 GB.")] = "",
) -> None:
    """Export each run to int8, make int8 of it by the other tools, and print their figures."""
    print(HEAD)
    foreign = [name for name in also.split(",") if name]
    for name in runs:
        for runtime, tools in (("LiteRT", tflite(name, samples)), ("ONNX Runtime", onnx(name, samples, foreign))):
            for tool, values in tools.items():
                print(f"| {' | '.join([name, tool, runtime, *cells(values)])} |", flush=True)


def cells(values: dict[str, Any]) -> list[str]:
    """Return a tool's cells; of one that stops, why."""
    if "reason" in values:
        return [values["reason"], "", "", "", ""]
    return [
        f"{values['most_db']:.1f}",
        f"{values['single_db']:.1f}",
        f"{values['agreement']:.4f}",
        f"{100 * values['fall']:.2f}",
        f"{values['size_bytes'] / 1e6:.2f}",
    ]


def exported(name: str, target: str, *precisions: str) -> Run:
    """Return a run with these precisions up to date."""
    log = Path("runs") / name / "logs" / f"integers-{target}.log"
    failed(anywhere("export", name, "--to", target, "--precision", ",".join(precisions)), Path(), log)
    return Run.open(name)


def tflite(name: str, samples: int) -> dict[str, dict[str, Any]]:
    """Return the figures of the tools for TFLite."""
    opened = exported(name, "tflite", "float32", "int8")
    target, log = find()["tflite"], opened.folder / "logs" / "integers.log"
    place = {"folder": str(opened.place("").absolute()), "checkpoint": str(opened.checkpoint.folder.absolute())}
    with (
        tempfile.TemporaryDirectory() as out,
        registry.find()[target.toolchain].start(log, [JOB], target.environment) as worker,
    ):
        done = worker.call(JOB, "compare", {**place, "samples": samples, "out": out}, log, LIMIT_S)
        table: dict[str, dict[str, Any]] = done.value
        for tool, values in table.items():
            if "reason" not in values:
                table[tool] = figures(opened.checkpoint, load_file(Path(out) / f"{tool}.safetensors"), **values)
    return table


def figures(opened: Checkpoint, actual: Arrays, size_bytes: int) -> dict[str, float]:
    """Return SQNR of most samples and of single ones, agreement and fall of the metric, of outputs (n, …) on golden."""
    golden, task = opened.golden(), tasks.load(opened.task)
    number = count(actual)
    reference = {name: golden.outputs[name][:number] for name in actual}
    truth = {name: values[:number] for name, values in golden.truth.items()}
    single = [
        np.quantile([sqnr_db(actual[name][row], values[row]) for row in range(number)], 0.1)
        for name, values in reference.items()
    ]
    return {
        "most_db": min(
            sqnr_of_most_db(actual[name], values, name in task.DECIDED_BY) for name, values in reference.items()
        ),
        "single_db": float(min(single)),
        "agreement": agreement(task.decide(actual), task.decide(reference)),
        "fall": task.score(reference, truth) - task.score(actual, truth) if truth else float("nan"),
        "size_bytes": size_bytes,
    }


def onnx(name: str, samples: int, also: Sequence[str] = ()) -> dict[str, dict[str, Any]]:
    """Return the figures of the tools for ONNX Runtime: its own quantizer as it comes, others, and the target's."""
    opened = exported(name, "onnx", "float32", "int8")
    golden = opened.checkpoint.golden()
    given = {tensor: values[:samples] for tensor, values in golden.inputs.items()}
    table: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as folder:
        plain = Path(folder) / "plain.onnx"
        tools: dict[str, Callable[[], Path]] = {"ONNX Runtime": lambda: by_onnx_runtime(opened, plain)}
        tools |= {tool: partial(by_other, tool, opened, Path(folder)) for tool in also}
        tools["anywhere"] = lambda: opened.artifact("onnx/int8").path
        for tool, make in tools.items():
            try:
                path = make()
                table[tool] = figures(opened.checkpoint, run_onnx(path, given), path.stat().st_size)
            except (WorkerFailed, RuntimeError) as error:
                table[tool] = {"reason": f"{type(error).__name__}: {error}".partition("\n")[0][:120]}
    return table


def by_other(tool: str, opened: Run, folder: Path) -> Path:
    """Return what a tool with an environment of its own makes. Raises WorkerFailed."""
    chain, job = registry.find(TOOLCHAINS)[tool], Path(__file__).with_name(f"{tool}_job.py")
    given, made, log = folder / "calibration.safetensors", folder / f"{tool}.onnx", opened.folder / f"logs/{tool}.log"
    save_file({name: np.ascontiguousarray(values) for name, values in calibration(opened.checkpoint).items()}, given)
    chain.build()
    source = str(opened.artifact("onnx/float32").path.absolute())
    with chain.start(log, [job], {}) as worker:
        worker.call(job, "quantize", {"source": source, "calibration": str(given), "out": str(made)}, log, LIMIT_S)
    return made


def by_onnx_runtime(opened: Run, path: Path) -> Path:
    """Write what `quantize_static` makes without an option, and return its file."""
    from onnxruntime.quantization import CalibrationDataReader, quantize_static

    samples = calibration(opened.checkpoint)
    rows = [{name: values[row : row + 1] for name, values in samples.items()} for row in range(count(samples))]

    class Reader(CalibrationDataReader):  # type: ignore[misc]  # which has no types, and quantize_static asks for it
        """One sample after the other."""

        left = iter(rows)

        def get_next(self) -> Any:
            """Return the next one; None after the last."""
            return next(self.left, None)

    quantize_static(str(opened.artifact("onnx/float32").path), str(path), Reader())
    return path


if __name__ == "__main__":
    typer.run(main)
