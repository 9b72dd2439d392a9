"""Compare int8 by every tool on runs that are there, and print a table.

python -m benchmarks.integers digits mine [--samples 1000]

SQNR in dB of all golden samples but the hundredth farthest off, and what nine of ten single ones exceed; agreement of
decisions with PyTorch's; what the metric falls by.
"""

import tempfile
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from safetensors.numpy import load_file

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

JOB = Path(__file__).with_name("tflite_job.py")
LIMIT_S = 3600.0
HEAD = """\
| network | tool | runtime | dB | single dB | agreement | points lost | MB |
| --- | --- | --- | ---: | ---: | ---: | ---: | ---: |"""


def main(
    runs: Annotated[list[str], typer.Argument(help="Names of runs.")],
    samples: Annotated[int, typer.Option(help="Golden samples, at most.")] = 1000,
) -> None:
    """Export each run to int8, make int8 of it by the other tools, and print their figures."""
    print(HEAD)
    for name in runs:
        for runtime, tools in (("LiteRT", tflite(name, samples)), ("ONNX Runtime", onnx(name, samples))):
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
        "most_db": min(sqnr_of_most_db(actual[name], values) for name, values in reference.items()),
        "single_db": float(min(single)),
        "agreement": agreement(task.decide(actual), task.decide(reference)),
        "fall": task.score(reference, truth) - task.score(actual, truth) if truth else float("nan"),
        "size_bytes": size_bytes,
    }


def onnx(name: str, samples: int) -> dict[str, dict[str, Any]]:
    """Return the figures of the tools for ONNX Runtime: its own quantizer as it comes, and the target's."""
    opened = exported(name, "onnx", "float32", "int8")
    golden = opened.checkpoint.golden()
    given = {tensor: values[:samples] for tensor, values in golden.inputs.items()}
    table = {}
    with tempfile.TemporaryDirectory() as folder:
        plain = Path(folder) / "plain.onnx"
        by_onnx_runtime(opened, plain)
        for tool, path in {"ONNX Runtime": plain, "anywhere": opened.artifact("onnx/int8").path}.items():
            table[tool] = figures(opened.checkpoint, run_onnx(path, given), path.stat().st_size)
    return table


def by_onnx_runtime(opened: Run, path: Path) -> None:
    """Write what `quantize_static` makes without an option."""
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


if __name__ == "__main__":
    typer.run(main)
