"""One network through the project's own commands, each a process of its own; nothing that fails ends the zoo.

    row = measure(network, Path("runs/zoo"))

In the work folder lie `runs/NAME`, an ordinary run, and `logs/NAME`, what the commands printed.
"""

import hashlib
import re
import shutil
import sys
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

from benchmarks.export import said_last, watched
from benchmarks.zoo import checkpoints, modules, networks
from benchmarks.zoo.networks import Network
from benchmarks.zoo.row import RUNTIMES, TARGETS, Row, judged
from export import self_check
from export.run import Run
from measures.distance import sqnr_db
from pipeline.checkpoint import Checkpoint
from validate.report import records
from validate.report.records import Result
from validate.runtimes import runner

PRECISION = "float32"
PREPARED = re.compile(r"image files prepared in \w+ differ from training's: [^;]*")
"""What is wrong with image files alone: random weights can make much of the 1/255 that rounding leaves."""
PACKAGES = ("torch", "torchvision", "timm", "onnx", "onnxruntime")


def measure(network: Network, work: Path) -> Row:
    """Make the checkpoint, export and validate it; the row says how far it came."""
    run, logs = work / "runs" / network.name, work / "logs" / network.name
    row = Row(network.name, network.source, network.size, versions={name: version(name) for name in PACKAGES})
    if problem := checkpointed(network, run, work, logs):
        return replace(row, problems=(f"checkpoint: {problem}",))
    opened = Run(run, Checkpoint.open(run / "checkpoint"))
    return judged(compared(exported(described(row, opened), opened, work, logs), opened, work, logs))


def checkpointed(network: Network, run: Path, work: Path, logs: Path) -> str:
    """Make the checkpoint, unless the same code made the one that is there; why it failed, else nothing.

    A network that is tried again has its ONNX file already, which takes the longest.
    """
    note, code = run / "made_by", made_by()
    if note.exists() and note.read_text() == code:
        return ""
    shutil.rmtree(run, ignore_errors=True)
    maker = [sys.executable, "-m", "benchmarks.zoo.checkpoints", network.name, str(run.absolute())]
    problem = failed(maker, work, logs / "checkpoint.log")
    if not problem:
        note.write_text(code)
    return problem


def made_by() -> str:
    """Changes when a checkpoint of the zoo would be another: sha256 of its code and of the packages' versions."""
    files = [Path(module.__file__ or "") for module in (checkpoints, modules, networks)]
    packages = "".join(version(name) for name in PACKAGES)
    return hashlib.sha256(b"".join(file.read_bytes() for file in files) + packages.encode()).hexdigest()


def failed(command: list[str], work: Path, log: Path) -> str:
    """Run a command in the work folder; what it printed last if it failed, else nothing."""
    log.parent.mkdir(parents=True, exist_ok=True)
    _, _, status = watched(command, log, work)
    return "" if status == 0 else said_last(log) or f"exit status {status}"


def anywhere(*words: str) -> list[str]:
    """Return the command `anywhere` of the running environment."""
    return [sys.executable, "-m", "anywhere", *words]


def described(row: Row, run: Run) -> Row:
    """Return the row with what the checkpoint says: its parameters, and what float32 itself loses."""
    golden = run.checkpoint.golden()
    floats = [name for name, values in golden.outputs.items() if values.dtype.kind == "f"]
    floor = min(sqnr_db(golden.outputs[name], golden.oracle[name]) for name in floats)
    parameters = sum(parameter.numel() for parameter in run.checkpoint.model().parameters())
    return replace(row, parameters=parameters, floor_db=self_check.rounded(floor))


def exported(row: Row, run: Run, work: Path, logs: Path) -> Row:
    """Return the row with seconds, way and transposes by the manifests, and why a target is missing."""
    log = logs / "export.log"
    command = anywhere("export", run.name, "--to", ",".join(TARGETS), "--precision", PRECISION, "--jobs", "1")
    problem = failed(command, work, log)
    seconds, way, turns = {}, "", None
    for target in TARGETS:
        if run.place(f"{target}/{PRECISION}").exists():
            artifact = run.artifact(f"{target}/{PRECISION}")
            seconds[target] = artifact.seconds
            if target == "saved_model":
                way, turns = artifact.way, artifact.details["transposes"]
    missing = [target for target in TARGETS if target not in seconds]
    problems = reasons(log.read_text(errors="replace"), missing)
    if missing and not problems:
        problems = (f"export: {problem}",)
    return replace(row, seconds=seconds, way=way, transposes=turns, problems=problems)


def reasons(printed: str, missing: list[str]) -> tuple[str, ...]:
    """Return why these targets were not made, from what `anywhere export` printed."""
    found = []
    for target in missing:
        pattern = rf"^{target}/{PRECISION}: (.+?)(?: Log: \S+)?$"
        found += [f"{target}: {reason}" for reason in re.findall(pattern, printed, re.MULTILINE)[:1]]
    return tuple(found)


def compared(row: Row, run: Run, work: Path, logs: Path) -> Row:
    """Return the row with SQNR and version of every runtime by validate's report, and why one did not pass."""
    if set(row.seconds) <= {"onnx"}:
        return row
    path = run.folder / "report" / "report.json"
    path.unlink(missing_ok=True)
    others = [word for name in unwanted() for word in ("--leave-out", name)]
    problem = failed(anywhere("validate", run.name, "--threads", "1", *others), work, logs / "validate.log")
    if not path.exists():
        return replace(row, problems=(*row.problems, f"validate: {problem}"))
    results = {f"{one.target} in {one.where}": one for one in records.read(path).results}
    wanted = {name: results[name] for name in RUNTIMES if name in results}
    return replace(
        row,
        sqnr_db={name: least(result) for name, result in wanted.items()},
        versions={**row.versions, **{name: one.runtime_version or "" for name, one in wanted.items()}},
        problems=(*row.problems, *wrong(wanted, row)),
    )


def wrong(results: dict[str, Result], row: Row) -> tuple[str, ...]:
    """Why rows of validate did not pass, but for those whose artifact is not there, which export's reason says."""
    return tuple(
        f"{name}: {one.reason or one.status}"
        for name, one in results.items()
        if one.status != "pass" and one.target in row.seconds and not PREPARED.fullmatch(one.reason or "")
    )


def least(result: Result) -> float | None:
    """Return the SQNR of the worst output; None if one has none."""
    ratios = [output.sqnr_db for output in result.outputs]
    numbers = [ratio for ratio in ratios if ratio is not None]
    return min(numbers) if numbers and len(numbers) == len(ratios) else None


def unwanted() -> list[str]:
    """Return every row of validate that the table has no column for: "tfjs/* in node cpu"."""
    return [
        f"{one.target}/* in {place}"
        for one in runner.find()
        for backend in one.backends
        if f"{one.target} in {(place := f'{one.runtime} {backend}'.rstrip())}" not in RUNTIMES
    ]
