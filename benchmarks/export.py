"""What `anywhere export` costs, beside the chain of converters one would type otherwise, on the same checkpoint.

    python -m benchmarks.export [RUN] [--repeat N]        or: make benchmark

It works on a copy of the run's checkpoint, takes about ten minutes a repeat, and builds the environments of the two
foreign converters on first use (9 GB). Each step is a process of its own, imports included: its seconds are the median
of the repeats, its peak the greatest sum of resident memory of all its processes, what they share counted for each.
The rows below a target are from the manifests: the conversion alone, in a worker that has its imports done and may
have made others before. SQNR is against golden's outputs, over 32 inputs. A step that fails is a row that says so.
The table is kept in runs/RUN/benchmark.json.
"""

import json
import os
import platform
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.table import Table
from safetensors.numpy import load_file, save_file

from export import self_check, target
from export.artifact import Artifact
from export.run import Run
from measures.distance import sqnr_db
from measures.tolerance import SAME_DB
from records.errors import BadInput
from records.golden import Actual, Golden
from records.tensor import Array, Tensor, tensors_to
from validate.runtimes import runner
from validate.runtimes.job import Job
from workers import registry
from workers.toolchain import ROOT, Toolchain
from workers.worker import WorkerFailed

HERE = Path(__file__).parent
TICK_S = 0.1
"""Between two samples of memory; a peak shorter than that may be missed."""
LIMIT_S = 1800.0
ONNX_WAYS: dict[str, tuple[str, list[list[str]]]] = {
    "onnx": ("torch.onnx.export", [[], ["-b", "1"]]),
    "torchscript": ("torch.onnx.export, dynamo=False", [[]]),
}
"""plain.py's exporters to ONNX, with the options of onnx2tf to try on their files: the next where the last fails."""
RUNTIMES = {"onnx": "torch", "saved_model": "tensorflow", "tflite": "litert"}
"""Format → the toolchain that infer.py runs it in."""


@dataclass(frozen=True)
class Step:
    """One row."""

    name: str
    seconds: float | None = None
    """Median of the repeats."""
    peak_bytes: int | None = None
    size_bytes: int | None = None
    """Of what it wrote."""
    batch: str = ""
    """What the file takes: any, or a number."""
    sqnr_db: float | None = None
    failed: str = ""
    """Why; empty: it did not."""

    @property
    def right(self) -> bool:
        """True if it wrote a float32 model that gives golden's numbers."""
        return not self.failed and self.sqnr_db is not None and self.sqnr_db >= SAME_DB


# ---------------------------------------------------------------------------------------------------- measuring


def run_step(
    name: str, command: Sequence[str | Path], out: Path, log: Path, repeat: int, cwd: Path, missing: Path | None = None
) -> Step:
    """Run a command `repeat` times, each with `out` away; `missing` is what it must have written, `out` itself else."""
    seconds, peaks = [], []
    for _ in range(repeat):
        out.unlink() if out.is_file() else shutil.rmtree(out, ignore_errors=True)
        out.parent.mkdir(parents=True, exist_ok=True)
        print(f"{name} …", flush=True)
        taken, peak, status = watched([str(part) for part in command], log, cwd)
        seconds.append(taken)
        peaks.append(peak)
        if status or not (missing or out).exists():
            said = said_last(log).replace(f"{cwd}/", "") or f"wrote no {(missing or out).name}"
            return Step(name, statistics.median(seconds), max(peaks), failed=f"exit status {status}: {said}")
    return Step(name, statistics.median(seconds), max(peaks), size_of(out))


def watched(command: Sequence[str], log: Path, cwd: Path) -> tuple[float, int, int]:
    """Run a command; return its seconds, the most memory of it and all below it in bytes, and its exit status."""
    # As in an activated environment: onnx2tf starts onnxsim by its name.
    places = os.pathsep.join([str(Path(command[0]).parent), os.environ.get("PATH", os.defpath)])
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PATH": places}
    peak, start = 0, time.monotonic()
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd=cwd, env=environment,
            start_new_session=True,
        )  # fmt: skip
        while process.poll() is None:
            peak = max(peak, memory_of_tree(process.pid))
            if time.monotonic() - start > LIMIT_S:
                os.killpg(process.pid, signal.SIGKILL)
            with suppress(subprocess.TimeoutExpired):
                process.wait(TICK_S)
    return time.monotonic() - start, peak, process.returncode


def memory_of_tree(root: int) -> int:
    """Return the bytes that a process and all its descendants have in memory now.

    https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html: the parent is field 4, the resident pages field 24.
    """
    parents, pages = {}, {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it has just ended
            after_name = stat.read_text().rpartition(")")[2].split()  # from field 3 on
            parents[int(stat.parent.name)], pages[int(stat.parent.name)] = int(after_name[1]), int(after_name[21])
    tree, before = {root}, 0
    while len(tree) > before:
        before = len(tree)
        tree |= {one for one, parent in parents.items() if parent in tree}
    return sum(pages.get(one, 0) for one in tree) * os.sysconf("SC_PAGE_SIZE")


def said_last(log: Path) -> str:
    """Return what a log most likely has on what went wrong: the last line with an error in it, or else the last.

    And the line after it: Keras first says where.
    """
    text = re.sub(r"\x1b\[[0-9;]*m", "", log.read_text(errors="replace"))
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [number for number, line in enumerate(lines) if re.search(r"\w(Error|Exception)\b|ERROR", line)]
    start = errors[-1] if errors else len(lines) - 1
    said = " ".join(lines[max(0, start) : start + 2])
    return re.sub(r"Exception encountered when calling layer .*?\)\. ", "", said)[:300]


def size_of(path: Path) -> int:
    """Return the bytes of a file, or of all files in a folder."""
    return sum(one.stat().st_size for one in ([path] if path.is_file() else path.rglob("*")) if one.is_file())


# ---------------------------------------------------------------------------------------------------- comparing


class Comparer:
    """Runs golden inputs through what a step wrote."""

    def __init__(self, run: Run, folder: Path):
        self.run, self.folder = run, folder
        golden = run.checkpoint.golden()
        (given,), (gives,) = run.checkpoint.inputs, run.checkpoint.outputs
        self.images = golden.inputs[given.name][: self_check.SAMPLES]
        self.expected = golden.outputs[gives.name][: self_check.SAMPLES]
        np.save(folder / "images.npy", self.images)

    def compared(self, step: Step, form: str, path: Path) -> Step:
        """The step with its SQNR and batch; failed where the runtime cannot run what it wrote."""
        if step.failed:
            return step
        try:
            batch, actual = self._tfjs(path) if form == "tfjs" else self._python(form, path)
        except (WorkerFailed, BadInput, KeyError, ValueError, OSError) as error:
            return replace(step, failed=f"written, but it does not run: {str(error)[:300]}")
        if actual.shape != self.expected.shape:
            return replace(step, batch=batch, failed=f"shape {actual.shape}, golden has {self.expected.shape}")
        return replace(step, batch=batch, sqnr_db=self_check.rounded(sqnr_db(actual, self.expected)))

    def _python(self, form: str, path: Path) -> tuple[str, Array]:
        arguments = {"path": str(path), "images": str(self.folder / "images.npy"), "out": str(self.folder / "out.npy")}
        batch = self._call(RUNTIMES[form], HERE / "infer.py", form, arguments)
        return batch, np.load(self.folder / "out.npy")

    def _tfjs(self, path: Path) -> tuple[str, Array]:
        """In Node on the wasm backend, by the names in the model's signature."""
        signature = json.loads(path.read_text())["signature"]
        ((_, given),), ((_, gives),) = signature["inputs"].items(), signature["outputs"].items()
        shape = [int(one["size"]) for one in given["tensorShape"]["dim"]]
        layout = "NCHW" if shape[1] == self.images.shape[1] else "NHWC"
        sizes = (shape[0] if shape[0] > 0 else "batch", *shape[1:])
        inputs = [Tensor(given["name"], "float32", sizes, layout)]
        outputs = [Tensor(gives["name"], "float32", (sizes[0], *self.expected.shape[1:]), "NK")]
        golden, out = self.folder / "golden.safetensors", self.folder / "out.safetensors"
        save_file(Golden({given["name"]: self.images}, {}, {}, {}).arrays(), golden)
        (node,) = (one for one in runner.find() if one.name == "tfjs_in_node")
        manifest = {"inputs": tensors_to(inputs), "outputs": tensors_to(outputs)}
        job = Job(node.file, path, manifest, golden, out, len(self.images), 1, "wasm")
        self._call(node.toolchain, node.harness, "measure", job.record())
        return str(sizes[0]).replace("batch", "any"), Actual.of(load_file(out)).golden[gives["name"]]

    def _call(self, name: str, file: Path, function: str, arguments: Mapping[str, Any]) -> Any:
        chain = registry.find()[name]
        chain.build()
        log = self.folder / "compare.log"
        with chain.start(log) as worker:
            return worker.call(file, function, arguments, log, LIMIT_S).value


# ---------------------------------------------------------------------------------------------------- the two chains


def ours(run: Run, repeat: int, comparer: Comparer) -> Iterator[Step]:
    """Measure each target with its source already there; then all at once."""
    plan = target.plan(target.find())
    for name in {one.target.toolchain for one in plan}:
        registry.find()[name].build()
    artifacts, log = run.folder / "artifacts", comparer.folder / "anywhere.log"
    anywhere = [sys.executable, "-m", "anywhere", "export", run.name]
    cwd = run.folder.resolve().parents[1]
    for name in dict.fromkeys(one.target.name for one in plan):
        yield run_step(f"anywhere export --to {name}", [*anywhere, "--to", name], artifacts / name, log, repeat, cwd)
        for conversion in plan:
            if conversion.target.name == name:
                yield alone(run, conversion.name, comparer)
    yield run_step("anywhere export --force", [*anywhere, "--force"], artifacts, log, repeat, cwd)


def alone(run: Run, name: str, comparer: Comparer) -> Step:
    """Measure one conversion, by its manifest."""
    try:
        artifact: Artifact = run.artifact(name)
    except BadInput as error:
        return Step(f"  {name}", failed=str(error))
    step = Step(f"  {name}", artifact.seconds, artifact.peak_memory, artifact.size_bytes)
    known = artifact.target in {*RUNTIMES, "tfjs"}
    return comparer.compared(step, artifact.target, artifact.path) if known else step


def plain(run: Run, repeat: int, comparer: Comparer) -> Iterator[Step]:
    """Measure torch.onnx.export, onnx2tf and tensorflowjs one after the other; and litert-torch by itself."""
    folder, checkpoint = comparer.folder / "plain", run.checkpoint.folder.resolve()
    folder.mkdir()
    chains = registry.find() | registry.find(HERE / "toolchains")

    def step(name: str, chain: Toolchain, command: list[str | Path], out: Path, must: Path, form: str) -> Step:
        try:
            chain.build()
        except BadInput as error:
            return Step(name, failed=str(error))
        program = chain.home / "bin" / command[0]
        log = folder / f"{out.name}.log"
        done = run_step(name, [program, *command[1:]], out, log, repeat, folder, must)
        return comparer.compared(done, form, must.parent if form == "saved_model" else must)

    script: list[str | Path] = ["python", "-m", "benchmarks.plain"]
    command: list[str | Path]

    saved, done = folder / "saved_model", Step("")
    for way, (said, batches) in ONNX_WAYS.items():
        if done.right:
            break
        onnx = folder / way / "model.onnx"
        exported = step(said, chains["torch"], [*script, way, checkpoint, onnx], onnx.parent, onnx, "onnx")
        yield exported
        for more in batches if exported.right else ():
            if done.right:
                break
            command = ["onnx2tf", "-i", onnx, "-o", saved, "-tb", "tf_converter", *more]
            name = " ".join(["  onnx2tf -tb tf_converter", *more])
            done = step(name, chains["tensorflow"], command, saved, saved / "saved_model.pb", "saved_model")
            yield done
    for file in sorted(saved.glob("*.tflite")):
        yield comparer.compared(Step(f"    {file.name}", size_bytes=size_of(file)), "tflite", file)

    web = folder / "tfjs"
    command = ["tensorflowjs_converter", "--input_format=tf_saved_model", saved, web]
    yield step("tensorflowjs_converter", chains["tensorflowjs"], command, web, web / "model.json", "tfjs")

    tflite = folder / "model.tflite"
    command = [*script, "litert_torch", checkpoint, tflite]
    yield step("litert-torch", chains["litert_torch"], command, tflite, tflite, "tflite")


# ---------------------------------------------------------------------------------------------------- telling


def table(title: str, steps: Sequence[Step]) -> Table:
    """Return a table with one row for each step."""
    rows = Table(title=title, title_justify="left", box=None, pad_edge=False, width=100)
    rows.add_column("step", no_wrap=True)
    for heading in ("seconds", "peak MiB", "size MB", "batch"):
        rows.add_column(heading, justify="right", no_wrap=True)
    rows.add_column("SQNR against golden")
    for one in steps:
        rows.add_row(
            one.name,
            "" if one.seconds is None else f"{one.seconds:.1f}",
            "" if one.peak_bytes is None else f"{one.peak_bytes / 2**20:.0f}",
            "" if one.size_bytes is None else f"{one.size_bytes / 1e6:.2f}",
            one.batch,
            f"failed: {one.failed[:140]}" if one.failed else "" if one.sqnr_db is None else f"{one.sqnr_db:.1f} dB",
        )
    return rows


@contextmanager
def copy_of(run: Run) -> Iterator[Run]:
    """Yield a copy of the run with its checkpoint and nothing else, in a folder that is removed at the end."""
    with tempfile.TemporaryDirectory(prefix="anywhere-benchmark-") as folder:
        place = Path(folder) / "runs" / run.name
        shutil.copytree(run.checkpoint.folder, place / "checkpoint")
        yield Run(place, type(run.checkpoint).open(place / "checkpoint"))


def main(
    run: Annotated[str, typer.Argument(help="Name of the run. Default: the one trained last.")] = "",
    repeat: Annotated[int, typer.Option(min=1, help="Times each step is run.")] = 1,
) -> None:
    """Measure both chains, print the table, write runs/RUN/benchmark.json."""
    opened = Run.open(run)
    if len(opened.checkpoint.inputs) != 1 or len(opened.checkpoint.outputs) != 1:
        raise BadInput(f"{opened.folder}: has more than one input or output, which the benchmark cannot compare.")
    with copy_of(opened) as copy:
        folder = copy.folder.resolve().parents[1]
        comparer = Comparer(copy, folder)
        chains = {
            "anywhere": list(ours(copy, repeat, comparer)),
            "plain": list(plain(copy, repeat, comparer)),
        }
    titles = {
        "anywhere": f"anywhere, {opened.name}, {os.cpu_count()} cores, median of {repeat}",
        "plain": "plain chain",
    }
    console = Console(width=100, highlight=False)
    for name, steps in chains.items():
        console.print(table(titles[name], steps), "")
    record = {
        "run": opened.name,
        "checkpoint_sha256": opened.checkpoint.sha256,
        "machine": {"processor": platform.machine(), "cores": os.cpu_count(), "python": platform.python_version()},
        "repeat": repeat,
        "samples": self_check.SAMPLES,
        "chains": {name: [asdict(one) for one in steps] for name, steps in chains.items()},
    }
    place = opened.folder / "benchmark.json"
    place.write_text(json.dumps(record, indent=1) + "\n")
    console.print(f"{place} written", soft_wrap=True)


if __name__ == "__main__":
    try:
        typer.run(main)
    except BadInput as error:
        sys.exit(f"error: {error}")
