"""Breaks the records of a run at random, seals them anew, and gives them to the commands that read them.

    python -m tests.fuzz 500        # cases 0 to 499: what came of them, by record; a traceback is shown

A seed is a case: which record, which change, whether the seals above it are made anew, which command. What has no seal
of its own is altered as it is. A command answers with 0 or 1 and a judged report, or with 2 and one sentence.
"""

import contextlib
import io
import json
import random
import resource
import shutil
import signal
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console
from safetensors.numpy import load_file, save_file

import anywhere
import pipeline.train
from export.run import Run
from export.target import find, plan
from pipeline import config as configs
from records.sealed import seal, sha256_of_file
from tests.kept import bring
from validate import parity
from validate.measure import Options
from validate.report import records
from validate.runtimes import runner
from validate.settings import ValidateConfig
from workers.toolchain import Toolchain
from workers.worker import WorkerFailed

TINY = {"model.name": "simple_cnn", "train.epochs": 4, "train.learning_rate": 0.002, "data.golden": 64}
LIMIT_S = 30
"""Seconds a case may take; most take a tenth of one."""
MEMORY = 2**30
"""Bytes that a case may need beyond what the cases before it did."""
CHECKPOINT, ONNX, WEB = Path("checkpoint"), Path("artifacts/onnx/float32"), Path("artifacts/tfjs/float32")
VALIDATE = ("validate", "tiny", "--only", "onnx/float32 in onnxruntime", "--calls", "1")
READ_BY: dict[str, list[tuple[str, ...]]] = {
    "tiny/checkpoint/checkpoint.json": [VALIDATE, ("export", "tiny", "--to", "onnx"), ("report", "tiny")],
    "tiny/checkpoint/golden.safetensors": [VALIDATE, ("report", "tiny")],
    "tiny/checkpoint/calibration.safetensors": [VALIDATE],
    "tiny/checkpoint/probes.safetensors": [VALIDATE],
    "tiny/checkpoint/weights.safetensors": [("export", "tiny", "--to", "onnx")],
    "tiny/checkpoint/program.pt2": [("program",)],
    "tiny/checkpoint/config.toml": [
        ("train", "--run", "tiny", "--config", "own.toml"),
        ("train", "--run", "new", "--config", "changed.toml"),
    ],
    "tiny/artifacts/onnx/float32/manifest.json": [
        VALIDATE,
        (*VALIDATE, "--localise"),
        ("export", "tiny", "--to", "onnx", "--keep-float", "fc1"),
        ("report", "tiny"),
    ],
    "tiny/artifacts/onnx/int8/manifest.json": [("validate", "tiny", "--only", "onnx/int8 in *")],
    "tiny/artifacts/onnx/float32/model.onnx": [VALIDATE],
    "tiny/artifacts/tfjs/float32/model.json": [("validate", "tiny", "--only", "tfjs/float32 in *")],
    "tiny/artifacts/expected.json": [VALIDATE, ("export", "tiny", "--to", "onnx"), ("report", "tiny")],
    "tiny/artifacts/keep_float.json": [("export", "tiny", "--to", "onnx")],
    "tiny/report/report.json": [("report", "tiny"), (*VALIDATE, "--baseline", "runs/tiny/report/report.json")],
    "half/checkpoint/checkpoint.json": [("train", "--resume", "--run", "half")],
    "half/checkpoint/config.toml": [("train", "--resume", "--run", "half")],
    "half/checkpoint/training.safetensors": [("train", "--resume", "--run", "half")],
}
"""Each record below `runs/` → the commands that read it."""
VALUES: list[Any] = [
    None, True, 0, -1, 1, 2**70, -(2**70), 10**400, 1e308, float("nan"), float("inf"), -float("inf"), 0.5, "",
    "x" * 100_000, "größe → \u202e\u0000\n\U0001f600", "\ud800", "../../../etc/passwd", "/dev/zero",
    [], {}, [[]], [None], [[[[0]]]], {"a": {"b": []}}, ["batch"] * 3, "float33", "sha256", "batch", [-1, 0], {"": None},
]  # fmt: skip


@dataclass(frozen=True)
class Told:
    """What a command answered."""

    status: int
    err: str
    traceback: str = ""


def made(place: Path) -> Path:
    """Return a folder with `runs/tiny`, exported and with a report, and `runs/half`, whose training is not finished."""
    own = plan(find(), ["onnx"], ["float32", "int8"])
    bring("tiny", TINY, place, own)
    with contextlib.chdir(place):
        run = Run.open("tiny")
        for name in ("own.toml", "changed.toml"):  # as its user wrote it, and for a case to change
            shutil.copy(run.folder / CHECKPOINT / "config.toml", name)
        web = {"weightsManifest": [{"paths": ["weights.bin"], "weights": []}]}
        shutil.copytree(run.folder / ONNX, run.folder / WEB)
        (run.folder / WEB / "model.onnx").rename(run.folder / WEB / "weights.bin")
        (run.folder / WEB / "model.json").write_text(json.dumps(web))
        manifest = run.folder / WEB / "manifest.json"
        files = {name: sha256_of_file(run.folder / WEB / name) for name in ("model.json", "weights.bin")}
        record = json.loads(manifest.read_text()) | {"target": "tfjs", "entry": "model.json", "files": files}
        manifest.write_text(json.dumps(seal(record)))
        run.expect(["tfjs/float32"])
        run.keep(["onnx/int8"], ["fc1"])
        settings = ValidateConfig(leave_out=("* in *onnxruntime_web*", "tfjs/*", "* in chromium*", "* in *web*"))
        records.write(
            parity.check(run, runner.find(), Options(1, timed=1), settings=settings),
            run.folder / "report" / "report.json",
        )
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(pipeline.train, "stop_on_signal", stopping)
            with contextlib.suppress(pipeline.train.Interrupted):
                settled = pipeline.train.settle(configs.read(None, dict(TINY)))
                pipeline.train.train(settled, Path("runs/half"), None, Console(quiet=True))
    return place


@contextlib.contextmanager
def stopping() -> Iterator[Any]:
    """Stop a training after its next step."""
    stop = pipeline.train._Stop()
    stop.requested = True
    yield stop


def changed(record: Any, chance: random.Random) -> tuple[Any, str]:
    """Return a JSON record in which one value, at any depth, is dropped or another; and what was done."""
    places = list(_places(record))
    path = chance.choice(places) if places and chance.random() < 0.97 else ()
    if not path:
        return chance.choice(VALUES), "all of it"
    parent = record
    for key in path[:-1]:
        parent = parent[key]
    name, key = ".".join(map(str, path)), path[-1]
    kind = chance.choice(["drop", "other", "other", "other", "more", "twice"])
    if kind == "drop":
        del parent[key]
    elif kind == "twice" and isinstance(parent[key], list) and parent[key]:
        parent[key] = parent[key] * 2
    elif kind == "more" and isinstance(parent[key], dict):
        parent[key][chance.choice(["new", "größe", ""])] = chance.choice(VALUES)
    else:
        parent[key] = chance.choice(VALUES)
        return record, f"{name} = {str(parent[key])[:30]!r}"
    return record, f"{name}: {kind}"


def _places(record: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the path of each value; of a list's, those of the first ones."""
    items = record.items() if isinstance(record, dict) else enumerate(record[:3]) if isinstance(record, list) else ()
    for key, value in items:
        yield (*path, key)
        yield from _places(value, (*path, key))


def torn(content: bytes, chance: random.Random) -> tuple[bytes, str]:
    """Return a file's bytes cut off, with other ones among them, doubled, or none."""
    kind = chance.choice(["cut", "flip", "flip", "header", "garbage", "empty", "twice", "long", "deep"])
    if kind == "cut":
        return content[: chance.randrange(len(content) or 1)], kind
    if kind in {"flip", "header"}:
        mutable, last = bytearray(content), min(len(content), 300 if kind == "header" else len(content))
        for _ in range(chance.choice([1, 3, 30])):
            mutable[chance.randrange(last)] = chance.randrange(256)
        return bytes(mutable), kind
    if kind == "long":  # a header of safetensors that says it is longer than any memory
        return (2**62).to_bytes(8, "little") + content[8:], kind
    if kind == "deep":
        return b"[" * 200_000, kind
    return {"garbage": chance.randbytes(999), "empty": b"", "twice": content * 2}[kind], kind


def altered(path: Path, chance: random.Random) -> str:
    """Alter the arrays of a safetensors file, which stays one; return what was done."""
    arrays = load_file(path)
    name = chance.choice(sorted(arrays))
    changes: dict[str, Callable[[Any], Any]] = {
        "float64": lambda value: value.astype(np.float64),
        "int8": lambda value: value.astype(np.int8),
        "bool": lambda value: value.astype(bool),
        "one row less": lambda value: value[:-1],
        "no rows": lambda value: value[:0],
        "one axis less": lambda value: value.reshape(-1),
        "a scalar": lambda value: value.reshape(-1)[0] if value.size else value,
        "turned": lambda value: np.ascontiguousarray(value.T),
        "no numbers": lambda value: value * np.nan if value.dtype.kind == "f" else value - 1,
        "huge": lambda value: value * 1e38 if value.dtype.kind == "f" else value + 99,
    }
    kind = chance.choice(["drop", "rename", "swap", *changes])
    if kind == "drop":
        del arrays[name]
    elif kind == "rename":
        arrays[chance.choice(["x", "größe", "input.", "output.x", "sized.0.input.image"])] = arrays.pop(name)
    elif kind == "swap":
        other = chance.choice(sorted(arrays))
        arrays[name], arrays[other] = arrays[other], arrays[name]
    else:
        with np.errstate(all="ignore"):
            arrays[name] = np.asarray(changes[kind](arrays[name]))
    path.unlink()
    save_file(arrays, path)
    return f"{name}: {kind}"


def break_one(seed: int, place: Path) -> tuple[str, str, tuple[str, ...]]:
    """Break one record of the runs in a folder; return which, how, and the command that is to read it."""
    chance = random.Random(seed)
    name = sorted(READ_BY)[seed % len(READ_BY)]
    path, command = place / "runs" / name, chance.choice(READ_BY[name])
    if path.suffix == ".safetensors" and chance.random() < 0.7:
        how = altered(path, chance)
    elif path.suffix == ".json" and chance.random() < 0.8:
        record, how = changed(json.loads(path.read_text()), chance)
        text = json.dumps(seal(record) if isinstance(record, dict) and "sha256" in record else record)
        replace(path, text.encode())
    elif path.suffix == ".toml" and chance.random() < 0.7:
        lines = path.read_text().splitlines()
        number = chance.randrange(len(lines))
        key = lines[number].partition(" = ")[0]
        value = json.dumps(chance.choice(VALUES))
        lines[number] = chance.choice(["", "[other]", f"{key} = {value}", f"{key} = 1\n" * 2])
        replace(path, "\n".join(lines).encode("utf-8", "replace"))
        how = f"{key} → {lines[number][:30]!r}"
    else:
        content, how = torn(path.read_bytes(), chance)
        replace(path, content)
    sealed = chance.random() < 0.85
    if sealed:
        with contextlib.suppress(ValueError, KeyError, TypeError, AttributeError, RecursionError):
            seal_above(place / "runs" / name.partition("/")[0], path)
    if command[-1] == "changed.toml":
        replace(place / "changed.toml", path.read_bytes())
    return name, f"{how}{' (sealed)' * sealed}", command


def replace(path: Path, content: bytes) -> None:
    """Write a file that may be a hard link to the original's."""
    path.unlink(missing_ok=True)
    path.write_bytes(content)


def seal_above(run: Path, path: Path) -> None:
    """Make the hashes that lead to a file anew, as somebody would who knows how."""

    def update(file: Path, change: Callable[[dict[str, Any]], object]) -> str:
        record = json.loads(file.read_text())
        change(record)
        record = seal(record) if "sha256" in record else record
        replace(file, json.dumps(record).encode())
        return str(record.get("sha256"))

    record = run / CHECKPOINT / "checkpoint.json"
    if path.parent == record.parent and path != record:
        update(record, lambda values: values["files"].update({path.name: sha256_of_file(path)}))
    elif path.parent.parent.parent.name == "artifacts" and path.name != "manifest.json":
        update(path.parent / "manifest.json", lambda values: values["files"].update({path.name: sha256_of_file(path)}))
    sha256 = json.loads(record.read_text())["sha256"]
    source = sha256
    for manifest in [run / ONNX / "manifest.json", *sorted(run.glob("artifacts/*/*/manifest.json"))]:
        if manifest.is_file() and manifest != path:
            values = {"checkpoint_sha256": sha256, "source_sha256": source}
            update(manifest, lambda record, values=values: record.update(values))  # type: ignore[misc]  # of a default
        if manifest.parent == run / ONNX and manifest.is_file():
            source = json.loads(manifest.read_text())["sha256"]
    if (run / "report" / "report.json").is_file() and path.name != "report.json":
        update(run / "report" / "report.json", lambda values: values.update(checkpoint_sha256=sha256))


def told(command: tuple[str, ...]) -> Told:
    """Run a command in this process, in the current folder, up to the point where it would start a worker."""

    def none(*_: Any, **__: Any) -> Any:
        raise WorkerFailed("no worker is started here")

    def too_long(*_: Any) -> None:
        raise TimeoutError(f"after {LIMIT_S} s")

    def main() -> None:
        if command == ("program",):
            Run.open("tiny").checkpoint.model()
        elif command[0] == "train" and "--resume" not in command:
            with pytest.MonkeyPatch.context() as never:
                never.setattr(pipeline.train, "train", none_trained)
                anywhere.main()
        else:
            anywhere.main()

    def none_trained(*_: Any, **__: Any) -> Any:
        raise pipeline.train.Interrupted(0, 0)

    out, err, status, trace = io.StringIO(), io.StringIO(), 0, ""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGALRM, signal.SIGTERM)}
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        patch.setattr(sys, "argv", ["anywhere", *command])
        patch.setattr(Toolchain, "start", none)
        patch.setattr(Toolchain, "build", lambda _: None)
        patch.setattr(pipeline.train, "stop_on_signal", stopping)
        signal.signal(signal.SIGALRM, too_long)
        signal.alarm(LIMIT_S)
        try:
            main()
        except SystemExit as ended:
            status = int(ended.code or 0)
        except anywhere.BadInput as error:
            status = 2
            print(f"error: {error}", file=err)
        except BaseException:  # noqa: BLE001  # that there is none is what is examined
            status, trace = -1, traceback.format_exc()
        finally:
            signal.alarm(0)
            for number, handler in handlers.items():
                signal.signal(number, handler)
    return Told(status, err.getvalue(), trace)


def wrong(answer: Told, command: tuple[str, ...]) -> str:
    """Return what is wrong with an answer; empty: nothing."""
    if answer.traceback:
        return answer.traceback
    if answer.status == 2:
        sentences = [line for line in answer.err.splitlines() if line.strip()]
        right = len(sentences) == 1 and sentences[0].startswith("error: ") and len(answer.err) < 2000
        return "" if right else f"no one sentence: {answer.err[:2000]!r}"
    allowed = {0, 1, 130} if command[0] == "train" else {0, 1}
    return "" if answer.status in allowed else f"exit status {answer.status}: {answer.err[:500]}"


def examine(seed: int, source: Path, place: Path) -> tuple[str, Told, str]:
    """Return the case in words, what was answered, and what is wrong with that; `place` is a folder that is made."""
    shutil.copytree(source, place, copy_function=lambda old, new: Path(new).hardlink_to(old))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    name, how, command = break_one(seed, place)
    with contextlib.chdir(place):
        answer = told(command)
    problem = wrong(answer, command)
    needed = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    if not problem and needed > MEMORY:
        problem = f"needed {needed / 2**30:.1f} GiB"
    return f"case {seed}: {name}: {how}; {' '.join(command)}", answer, problem


def main() -> None:
    """Examine the cases that the command line asks for, and print what came of them."""
    first, last = (0, int(sys.argv[1])) if len(sys.argv) == 2 else (int(sys.argv[1]), int(sys.argv[2]))
    counts: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        source = made(Path(folder) / "source")
        for seed in range(first, last):
            place = Path(folder) / str(seed)
            words, answer, problem = examine(seed, source, place)
            kind = "wrong" if problem else str(answer.status)
            counts[kind] += 1
            if problem:
                print(f"{words}\n{problem}", flush=True)
            shutil.rmtree(place)
    print(dict(counts))


if __name__ == "__main__":
    main()
