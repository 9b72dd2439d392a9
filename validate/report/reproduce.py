"""Writes scripts that run one failed row again, alone: report/reproduce/<row>.py, to be read, changed and sent on.

    python runs/digits/report/reproduce/tflite-int8-litert-xnnpack.py

The script itself calls a runtime in Python, with the runner's own lines in it. What runs in Node, Chromium or another
processor's emulator is started by the project, and so is a conversion that left no artifact.
"""

import dataclasses
import inspect
import re
import sys
import textwrap
from collections.abc import Mapping
from pathlib import Path
from string import Template

from export import target
from export.artifact import Artifact
from export.run import Run
from export.target import CHECKPOINT
from measures import tasks
from records.errors import BadInput
from records.tensor import Tensor
from validate.report import sentences
from validate.report.records import Report, Result
from validate.runtimes import runner
from validate.runtimes.runner import Runner
from workers import registry
from workers.toolchain import Toolchain

IN_ORDER = (
    " Place by place: the report pairs what was found first,\n# and there two that score alike may have changed places."
)
"""What a script says of a task whose decisions have no place of their own."""
ARM = "packages.txt"
"""File that marks a toolchain of another processor."""


def scripts(report: Report, run: Run) -> dict[str, str]:
    """Return file name → script, for each row that can be run again."""
    chains = registry.find()
    runners = {(item.target, item.runtime): item for item in runner.find()}
    texts = {}
    for result in report.results:
        if not sentences.reproducible(result):
            continue
        text = _conversion(report, run, result) if result.artifact_sha256 is None else None
        row_runner = runners.get((result.target, result.runtime))
        if result.artifact_sha256 and row_runner and (artifact := _artifact(run, sentences.artifact(result))):
            text = _run(report, result, artifact, row_runner, chains[row_runner.toolchain])
        if text:
            texts[f"{sentences.slug(result)}.py"] = text
    return texts


def _artifact(run: Run, name: str) -> Artifact | None:
    try:
        return run.artifact(name)
    except BadInput:
        return None


def _run(report: Report, result: Result, artifact: Artifact, row_runner: Runner, chain: Toolchain) -> str:
    """Return the script that runs a row's artifact again: by itself where it can, else through the project."""
    source = _own(row_runner.file) if row_runner.file.suffix == ".py" and not (chain.folder / ARM).exists() else None
    fixed = artifact.inputs[0].shape[0]
    values = {
        "artifact": str(Path("artifacts") / artifact.name / artifact.entry),
        "about": "the artifact on golden inputs, and how far its outputs lie from PyTorch's",
        "manifest": _manifest(artifact),
        "samples": result.samples or row_runner.samples[result.backend],
        "threads": report.machine.get("threads") or 1,
        "backend": result.backend,
        "environment": row_runner.environment[result.backend],
        "runner": row_runner.file.name,
        "file": row_runner.file.name,
        "decide": inspect.getsource(tasks.load(artifact.task).decide),
        "task": artifact.task,
        "order": "" if tasks.load(artifact.task).IN_PLACE else IN_ORDER,
    }
    if source is None:
        harness = {
            "toolchain": row_runner.toolchain,
            "harness": row_runner.harness.name,
            "needs": row_runner.needs,
            "limit": row_runner.limit_s,
        }
        return _filled(HARNESS, report, result, values | _ours() | harness)
    alone = {
        "batch": fixed if isinstance(fixed, int) else runner.BATCH,
        "source": source,
        "tensor": inspect.getsource(Tensor),
        "home": str(chain.home),
        "python": sys.executable if chain.own else str(chain.home / "bin" / "python"),
    }
    return _filled(ALONE, report, result, values | alone)


def _ours() -> dict[str, str]:
    """Return the Python that the project itself runs in."""
    return {"home": sys.prefix, "python": sys.executable}


def _manifest(artifact: Artifact) -> str:
    """Return what a runner is told of an artifact, as Python, one tensor a line."""
    lines = ["{"]
    for key, tensors in (("inputs", artifact.inputs), ("outputs", artifact.outputs)):
        lines += [f"    {key!r}: [", *(f"        {dataclasses.asdict(tensor)!r}," for tensor in tensors), "    ],"]
    return "\n".join([*lines, f"    'min_runtime_version': {artifact.min_runtime_version!r},", "}"])


def _own(file: Path) -> str | None:
    """Return a runner's code without what it imports of the project; None: it cannot do without."""
    refused = inspect.getsource(runner.Refused)
    text = file.read_text(encoding="utf-8").replace("from validate.runtimes.runner import Refused\n", f"\n{refused}\n")
    text = re.sub(r"^from records\.tensor import .*\n", "", text, flags=re.MULTILINE)  # the script has them
    text = text.split('"""', 2)[2].strip()
    return (
        None
        if re.search(r"^\s*(from|import) (pipeline|export|validate|records|workers|measures)\b", text, re.M)
        else text
    )


def _conversion(report: Report, run: Run, result: Result) -> str | None:
    """Return the script for the conversion that failed: the row's own, or the one that should have made its source.

    None: there is no such conversion any more.
    """
    targets, name, source = target.find(), sentences.artifact(result), None
    while True:
        kind, _, precision = name.partition("/")
        if kind not in targets or precision not in targets[kind].sources:
            return None
        made_from = targets[kind].sources[precision]
        if made_from == CHECKPOINT or (source := _artifact(run, made_from)):
            break
        name = made_from
    input_path = "checkpoint" if source is None else str(Path("artifacts") / source.name / source.entry)
    values = {
        "about": "the conversion once more, with its log",
        "conversion": name,
        "target": kind,
        "precision": precision,
        "input": input_path,
    }
    return _filled(CONVERSION, report, result, values | _ours())


CODE = ("manifest", "decide", "order", "source", "tensor", "file", "task", "conversion", "about")
"""Values that go into a script as they are: lines and names of the project's own. All others are quoted."""


def _filled(template: str, report: Report, result: Result, values: Mapping[str, object]) -> str:
    """Return a template filled with values, which are quoted: names and reasons may hold any characters."""
    summary = f"{report.created}, {result.status.replace('_', ' ')}: {result.reason}"
    if result.further and result.further.samples:
        summary += f" Here golden alone is run; with the {result.further.samples} further samples: {result.command}"
    words = {
        "name": _quiet(result.name),
        "self": _quiet(f"runs/{report.run}/report/reproduce/{sentences.slug(result)}.py"),
        "summary": textwrap.fill(_quiet(summary), 116, break_long_words=False, break_on_hyphens=False),
    }
    quoted = {key: value if key in CODE else repr(value) for key, value in values.items()}
    return Template(template).substitute(words | quoted)


def _quiet(text: str) -> str:
    """Return text for a docstring: no quote ends it, and no backslash escapes anything."""
    printable = "".join(character if character.isprintable() else " " for character in text)
    return " ".join(printable.split()).replace("\\", "\\\\").replace('"', '\\"')


HEAD = '''"""$name, alone: $about.

    python $self

$summary
"""

import os
import sys
from pathlib import Path

HOME = $home
PYTHON = $python
if Path(sys.prefix).resolve() != Path(HOME).resolve() and Path(PYTHON).exists():  # which has what this needs
    os.execv(PYTHON, [PYTHON, *sys.argv])

RUN = Path(__file__).resolve().parents[2]
'''

MANIFEST = """
ARTIFACT = RUN / $artifact
MANIFEST = $manifest
SAMPLES, THREADS, BACKEND = $samples, $threads, $backend
os.environ |= $environment  # which is read when a runtime is imported
os.environ["OMP_NUM_THREADS"] = str(THREADS)

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from safetensors.numpy import load_file

Array = np.ndarray[Any, Any]
Arrays = Mapping[str, Array]
"""

COMPARISON = """
# What a sample is decided as: task $task.

$decide

# How far it lies from PyTorch's.$order

expected = {name: golden[f"output.{name}"][: len(value)] for name, value in actual.items()}
for name, value in actual.items():
    difference = value.astype(np.float64) - expected[name]
    noise, signal = np.square(difference).sum(), np.square(expected[name].astype(np.float64)).sum()
    sqnr = 10 * np.log10(signal / noise) if noise else 300.0
    print(f"{name}: SQNR {sqnr:.1f} dB, greatest difference {np.abs(difference).max():.3g}")
equal = decide(actual) == decide(expected)
if equal.size:
    print(f"agreement {equal.mean():.4f}: {equal.sum()} of {equal.size} decisions")
"""

ALONE = (
    HEAD
    + MANIFEST
    + """
# How the runtime is called: validate/runtimes/runners/$file.

$source


# What the artifact takes and gives, as an app has to adapt it: records/tensor.py.

$tensor

golden = load_file(RUN / "checkpoint" / "golden.safetensors")
input_tensors = [Tensor(**record) for record in MANIFEST["inputs"]]
output_tensors = [Tensor(**record) for record in MANIFEST["outputs"]]
inputs = {tensor.name: tensor.stored(golden[f"input.{tensor.name}"][:SAMPLES]) for tensor in input_tensors}
infer = activate(ARTIFACT, MANIFEST, THREADS, BACKEND)
parts = [
    infer({name: value[start : start + $batch] for name, value in inputs.items()})
    for start in range(0, SAMPLES, $batch)
]
actual = {
    tensor.name: tensor.restored(np.concatenate([part[tensor.name] for part in parts])) for tensor in output_tensors
}
"""
    + COMPARISON
)

HARNESS = (
    HEAD
    + MANIFEST
    + """
import tempfile

import validate
from validate.runtimes import programs
from workers import registry
from workers.worker import WorkerFailed

# The runtime is started by the project, as validate/runtimes/runners/$file says.

golden = load_file(RUN / "checkpoint" / "golden.safetensors")
code = Path(validate.__file__).parent / "runtimes"
chain = registry.find()[$toolchain]
chain.build()
with tempfile.TemporaryDirectory() as scratch:
    log, out = Path(scratch) / "log", Path(scratch) / "actual.safetensors"
    job = {
        "runner": str(code / "runners" / $runner),
        "path": str(ARTIFACT),
        "manifest": MANIFEST,
        "golden": str(RUN / "checkpoint" / "golden.safetensors"),
        "out": str(out),
        "samples": SAMPLES,
        "threads": THREADS,
        "backend": BACKEND,
    }
    try:
        with chain.start(log, environment=programs.environment($needs)) as worker:
            worker.call(code / $harness, "measure", job, log, $limit)
    except WorkerFailed as error:
        sys.exit(f"{log.read_text(encoding='utf-8', errors='replace')}{error}")
    print(log.read_text(encoding="utf-8", errors="replace"), end="")
    actual = {
        name.removeprefix("golden."): value for name, value in load_file(out).items() if name.startswith("golden.")
    }
"""
    + COMPARISON
)

CONVERSION = (
    HEAD
    + """
import tempfile

from export.target import find
from workers import registry
from workers.worker import WorkerFailed

# The conversion that left no artifact: $conversion.

target = find()[$target]
chain = registry.find()[target.toolchain]
chain.build()
with tempfile.TemporaryDirectory() as scratch:
    log, out = Path(scratch) / "log", Path(scratch) / "artifact"
    out.mkdir()
    job = {
        "source": str(RUN / $input),
        "checkpoint": str(RUN / "checkpoint"),
        "precision": $precision,
        "out": str(out),
    }
    try:
        with chain.start(log, [target.file], target.environment) as worker:
            done = worker.call(target.file, "convert", job, log, target.limit_s)
    except WorkerFailed as error:
        sys.exit(f"{log.read_text(encoding='utf-8', errors='replace')}{error}")
    print(log.read_text(encoding="utf-8", errors="replace"), end="")
    print(f"converted in {done.seconds:.1f} s: {', '.join(path.name for path in out.iterdir())}")
"""
)
