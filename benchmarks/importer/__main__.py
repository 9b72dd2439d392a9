"""Run the networks, one after the other, and write docs/importer.md.

python -m benchmarks.importer [--only resnet18,swin_v2_t]
"""

from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks.zoo.measure import anywhere, checkpointed, failed
from benchmarks.zoo.networks import Network, named
from export.run import Run
from export.target import find
from pipeline.checkpoint import Checkpoint
from workers import registry
from workers.worker import Worker, WorkerFailed

TEN = (
    "mobilenet_v3_small,resnet18,efficientnet_b0,shufflenet_v2_x0_5,squeezenet1_1,mnasnet0_5,fastvit_t8,repvit_m0_9,"
    "mobilenetv4_conv_small,EncoderDecoder"
)
JOB = Path(__file__).with_name("job.py")
LIMIT_S = 900.0
"""Of one way."""
INTRODUCTION = """\
# The importer beside onnx2tf

The same ONNX files by both ways, in one run (`python -m benchmarks.importer`): seconds to a SavedModel that is right,
TensorFlow imported; SQNR in dB against ONNX Runtime; operators that only turn axes; and the latency of the TFLite file
made of it in milliseconds, in LiteRT with XNNPACK on one thread, median of pairs of calls in turn.

| network | importer s | onnx2tf s | importer dB | onnx2tf dB | batch | transposes | ms | ratio |
| --- | ---: | ---: | ---: | ---: | --- | --- | --- | ---: |
"""


def main(
    only: Annotated[str, typer.Option(help="Networks of the zoo, with commas.")] = TEN,
    work: Annotated[Path, typer.Option(help="Where runs and logs are kept.")] = Path("runs/importer"),
    page: Annotated[Path, typer.Option(help="The table.")] = Path("docs/importer.md"),
) -> None:
    """Time both ways."""
    work.mkdir(parents=True, exist_ok=True)
    lines = [line(network, work) for network in named(only)]
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(INTRODUCTION + "".join(f"| {' | '.join(cells)} |\n" for cells in lines))


def line(network: Network, work: Path) -> list[str]:
    """Print one network's cells, and return them."""
    run, logs = work / "runs" / network.name, work / "logs" / network.name
    problem = checkpointed(network, run, work, logs)
    command = anywhere("export", network.name, "--to", "onnx", "--precision", "float32")
    problem = problem or failed(command, work, logs / "onnx.log")
    cells = [network.name, *(["", problem, *[""] * 6] if problem else measured(run.absolute(), logs))]
    print(" | ".join(cells), flush=True)
    return cells


def measured(run: Path, logs: Path) -> list[str]:
    """Measure one run in both ways."""
    ours, theirs = (converted(run, way, logs) for way in ("importer", "onnx2tf"))
    both = "bytes" in ours and "bytes" in theirs
    times = latencies(run, logs) if both else []
    return [
        *(f"{one['seconds']:.1f}" if "seconds" in one else "" for one in (ours, theirs)),
        *(f"{one['sqnr_db']:.0f}" if "sqnr_db" in one else one["reason"] for one in (ours, theirs)),
        " / ".join(str(one.get("batch", "–")) for one in (ours, theirs)),
        " / ".join(str(one.get("transposes", "–")) for one in (ours, theirs)),
        " / ".join(f"{time:.2f}" for time in times),
        f"{times[0] / times[1]:.2f}" if both else "",
    ]


def converted(run: Path, way: str, logs: Path) -> dict[str, Any]:
    """Convert one run in one way, in a process of its own; what went wrong is its `reason`."""
    (run / way).mkdir(exist_ok=True)
    source = Run(run, Checkpoint.open(run / "checkpoint")).artifact("onnx/float32").path
    arguments = {"source": str(source), "checkpoint": str(run / "checkpoint"), "way": way, "out": str(run / way)}
    log = logs / f"{way}.log"
    try:
        with started(log) as worker:
            value: dict[str, Any] = worker.call(JOB, "compare", arguments, log, LIMIT_S).value
    except WorkerFailed as error:
        return {"reason": str(error)[:120]}
    return value


def started(log: Path) -> Worker:
    """Start a worker as the target saved_model has it."""
    target = find()["saved_model"]
    return registry.find()[target.toolchain].start(log, [JOB], target.environment)


def latencies(run: Path, logs: Path) -> list[float]:
    """Measure the two TFLite files, in milliseconds."""
    files = {name: str(run / way / "model.tflite") for name, way in (("first", "importer"), ("second", "onnx2tf"))}
    log = logs / "latency.log"
    with started(log) as worker:
        value: list[float] = worker.call(JOB, "latencies", files, log, LIMIT_S).value
    return value


if __name__ == "__main__":
    typer.run(main)
