"""Scripts that do one failed row again, alone: report/reproduce/<row>.py, to be read, changed and sent to others.

    python runs/digits/report/reproduce/tflite-int8-litert-xnnpack.py

A runtime in Python is called by the script itself, with the runner's own lines in it. What runs in Node, Chromium or
another processor's emulator is started by the project, and so is a conversion that left no artifact.
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

ARM = "packages.txt"
"""A toolchain with this file is of another processor."""


def scripts(report: Report, run: Run) -> dict[str, str]:
    """File name → script, for each row that can be done again."""
    chains = registry.find()
    runners = {(one.target, one.runtime): one for one in runner.find()}
    found = {}
    for result in report.results:
        if not sentences.reproducible(result):
            continue
        text = _conversion(report, run, result) if result.artifact_sha256 is None else None
        by = runners.get((result.target, result.runtime))
        if result.artifact_sha256 and by and (artifact := _artifact(run, sentences.artifact(result))):
            text = _run(report, result, artifact, by, chains[by.toolchain])
        if text:
            found[f"{sentences.slug(result)}.py"] = text
    return found


def _artifact(run: Run, name: str) -> Artifact | None:
    try:
        return run.artifact(name)
    except BadInput:
        return None


def _run(report: Report, result: Result, artifact: Artifact, by: Runner, chain: Toolchain) -> str:
    """The row run again: by the script itself where that can be."""
    source = _own(by.file) if by.file.suffix == ".py" and not (chain.folder / ARM).exists() else None
    fixed = artifact.inputs[0].shape[0]
    values = {
        "artifact": str(Path("artifacts") / artifact.name / artifact.entry),
        "about": "the artifact on golden inputs, and how far its outputs lie from PyTorch's",
        "manifest": _manifest(artifact),
        "samples": result.samples or by.samples[result.backend],
        "threads": report.machine.get("threads") or 1,
        "backend": result.backend,
        "runner": by.file.name,
        "file": by.file.name,
        "decide": inspect.getsource(tasks.load(artifact.task).decide),
        "task": artifact.task,
    }
    if source is None:
        more = {"toolchain": by.toolchain, "harness": by.harness.name, "needs": by.needs, "limit": by.limit_s}
        return _filled(HARNESS, report, result, values | _ours() | more)
    own = {
        "batch": fixed if isinstance(fixed, int) else runner.BATCH,
        "source": source,
        "tensor": inspect.getsource(Tensor),
        "home": str(chain.home),
        "python": sys.executable if chain.own else str(chain.home / "bin" / "python"),
    }
    return _filled(ALONE, report, result, values | own)


def _ours() -> dict[str, str]:
    """The project's own Python."""
    return {"home": sys.prefix, "python": sys.executable}


def _manifest(artifact: Artifact) -> str:
    """What a runner is told of an artifact, a tensor on a line."""
    lines = ["{"]
    for key, tensors in (("inputs", artifact.inputs), ("outputs", artifact.outputs)):
        lines += [f"    {key!r}: [", *(f"        {dataclasses.asdict(one)!r}," for one in tensors), "    ],"]
    return "\n".join([*lines, f"    'min_runtime_version': {artifact.min_runtime_version!r},", "}"])


def _own(file: Path) -> str | None:
    """A runner's lines, without what it imports of the project; None: it needs the project."""
    refused = inspect.getsource(runner.Refused)
    text = file.read_text().replace("from validate.runtimes.runner import Refused\n", f"\n{refused}\n")
    text = re.sub(r"^from records\.tensor import .*\n", "", text, flags=re.MULTILINE)  # the script has them
    text = text.split('"""', 2)[2].strip()
    return (
        None
        if re.search(r"^\s*(from|import) (pipeline|export|validate|records|workers|measures)\b", text, re.M)
        else text
    )


def _conversion(report: Report, run: Run, result: Result) -> str | None:
    """The conversion that left nothing: the row's own, or the one that was to be its source."""
    targets, name, source = target.find(), sentences.artifact(result), None
    while True:
        kind, _, precision = name.partition("/")
        if kind not in targets or precision not in targets[kind].sources:
            return None
        made_from = targets[kind].sources[precision]
        if made_from == CHECKPOINT or (source := _artifact(run, made_from)):
            break
        name = made_from
    given = "checkpoint" if source is None else str(Path("artifacts") / source.name / source.entry)
    values = {
        "about": "the conversion once more, with its log",
        "conversion": name,
        "target": kind,
        "precision": precision,
        "given": given,
    }
    return _filled(CONVERSION, report, result, values | _ours())


CODE = ("manifest", "decide", "source", "tensor", "file", "task", "conversion", "about")
"""What goes into a script as it is: lines and names of the project's own."""


def _filled(template: str, report: Report, result: Result, values: Mapping[str, object]) -> str:
    """Names and reasons may hold whatever they like: it is quoted."""
    told = f"{report.created}, {result.status.replace('_', ' ')}: {result.reason}"
    words = {
        "name": _quiet(result.name),
        "self": _quiet(f"runs/{report.run}/report/reproduce/{sentences.slug(result)}.py"),
        "told": textwrap.fill(_quiet(told), 116, break_long_words=False, break_on_hyphens=False),
    }
    quoted = {key: value if key in CODE else repr(value) for key, value in values.items()}
    return Template(template).substitute(words | quoted)


def _quiet(text: str) -> str:
    """For a docstring: no quote ends it, no backslash means anything."""
    printable = "".join(one if one.isprintable() else " " for one in text)
    return " ".join(printable.split()).replace("\\", "\\\\").replace('"', '\\"')


HEAD = '''"""$name, alone: $about.

    python $self

$told
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

# How far it lies from PyTorch's.

expected = {name: golden[f"output.{name}"][: len(value)] for name, value in actual.items()}
for name, value in actual.items():
    difference = value.astype(np.float64) - expected[name]
    noise, signal = np.square(difference).sum(), np.square(expected[name].astype(np.float64)).sum()
    sqnr = 10 * np.log10(signal / noise) if noise else 300.0
    print(f"{name}: SQNR {sqnr:.1f} dB, greatest difference {np.abs(difference).max():.3g}")
same = decide(actual) == decide(expected)
print(f"agreement {same.mean():.4f}: {same.sum()} of {len(same)} decisions")
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
tensors = [Tensor(**one) for one in MANIFEST["inputs"]]
inputs = {one.name: one.stored(golden[f"input.{one.name}"][:SAMPLES]) for one in tensors}
infer = activate(ARTIFACT, MANIFEST, THREADS, BACKEND)
parts = [
    infer({name: value[start : start + $batch] for name, value in inputs.items()})
    for start in range(0, SAMPLES, $batch)
]
given = [Tensor(**one) for one in MANIFEST["outputs"]]
actual = {one.name: one.restored(np.concatenate([part[one.name] for part in parts])) for one in given}
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
        sys.exit(f"{log.read_text()}{error}")
    print(log.read_text(), end="")
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
        "source": str(RUN / $given),
        "checkpoint": str(RUN / "checkpoint"),
        "precision": $precision,
        "out": str(out),
    }
    try:
        with chain.start(log, [target.file]) as worker:
            done = worker.call(target.file, "convert", job, log, target.limit_s)
    except WorkerFailed as error:
        sys.exit(f"{log.read_text()}{error}")
    print(log.read_text(), end="")
    print(f"converted in {done.seconds:.1f} s: {', '.join(path.name for path in out.iterdir())}")
"""
)
