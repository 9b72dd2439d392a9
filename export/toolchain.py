"""A toolchain: a locked foreign environment, and a worker in it that speaks with us.

    worker = find()["torch"].start(log, preload=[file])
    done = worker.call(file, "convert", {...}, log=..., limit_s=900)
    worker.close()

A folder in `toolchains/` with `requirements.in` and its lock `requirements.txt` is built once into the user's cache,
under the hash of the lock. One without `requirements.in` is the environment this process runs in. One with
`package.json` runs JavaScript: export/node.py. One with `packages.txt` is of another processor: export/emulation.py. A
worker that crashes, hangs, needs too much memory or writes rubbish raises `WorkerFailed`, and only that.
"""

import fcntl
import hashlib
import json
import os
import queue
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Self

import platformdirs

from pipeline.errors import BadInput, room_for

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "toolchains"
MEMORY_LIMIT = 12 * 2**30
"""Bytes of memory a worker may have in use, with all processes it has started."""
TICK_S = 0.2
START_LIMIT_S = 180.0
"""Seconds a worker may take to import what its first job needs."""


class WorkerFailed(Exception):
    """A job that gave no result. The message says why; what the worker printed is in the log."""

    def __init__(self, message: str, kind: str = ""):
        """kind: the name of the exception in the worker; empty where the worker itself failed."""
        super().__init__(message)
        self.kind = kind


@dataclass(frozen=True)
class Done:
    """What a job gave."""

    value: Any
    seconds: float
    peak_memory: int
    """Bytes, of the worker's whole life so far."""


@dataclass(frozen=True)
class Toolchain:
    """One environment."""

    name: str
    folder: Path

    @property
    def own(self) -> bool:
        """Whether it is the environment of this very process."""
        return not (self.folder / "requirements.in").exists()

    @property
    def lock(self) -> Path:
        """Every package with version and hashes; installable with `uv pip sync` and with `pip --require-hashes`."""
        return self.folder / "requirements.txt"

    @property
    def python_version(self) -> str:
        """The Python it is locked for, `3.12`; empty: any, so ours."""
        file = self.folder / ".python-version"
        return file.read_text().split()[0] if file.exists() else ""

    @property
    def key(self) -> str:
        """Identifies what is installed in it: sha256 in hexadecimal."""
        if self.own:
            text = "\n".join(sorted(f"{one.name}=={one.version}" for one in metadata.distributions()))
        else:
            text = self._content
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def _content(self) -> str:
        return self.lock.read_text() + self.python_version

    @property
    def optional(self) -> bool:
        """Whether a machine without it is complete."""
        return False

    @property
    def needs(self) -> dict[str, str]:
        """Programs that must be on the machine, each with how to get it: nothing that is built here."""
        return {}

    @property
    def missing(self) -> list[str]:
        """Those of `needs` that are not there."""
        return [program for program in self.needs if shutil.which(program) is None]

    @property
    def home(self) -> Path:
        """Where the environment is, or will be."""
        return Path(sys.prefix) if self.own else cache_folder() / "toolchains" / f"{self.name}-{self.key[:16]}"

    @property
    def ready(self) -> bool:
        """Whether a worker can be started without building anything."""
        return self.own or self._python.exists()

    @property
    def _python(self) -> Path:
        return Path(sys.executable) if self.own else self.home / "bin" / "python"

    def build(self) -> None:
        """Build the environment unless it is there; of several that want it at once, one builds. Raises BadInput."""
        if self.ready:
            return
        for program in self.missing:
            raise BadInput(f"toolchain {self.name}: {program} is not on this machine. Get it: {self.needs[program]}.")
        self.home.parent.mkdir(parents=True, exist_ok=True)
        with _locked(self.home.with_suffix(".lock")), room_for(self.home):
            if not self.ready:
                self._build()

    def _build(self) -> None:
        new = self.home.with_suffix(".new")
        shutil.rmtree(new, ignore_errors=True)
        try:
            self._fill(new)
            new.rename(self.home)
        finally:
            shutil.rmtree(new, ignore_errors=True)

    def _fill(self, new: Path) -> None:
        """Make the environment in a folder that does not exist and will be renamed."""
        uv = [uv_path(), "--quiet"]
        self._run([*uv, "venv", "--relocatable", "--python", self.python_version or sys.executable, str(new)])
        python = str(new / "bin" / "python")
        self._run([*uv, "pip", "sync", "--require-hashes", "--compile-bytecode", "--python", python, str(self.lock)])

    def _run(self, command: Sequence[str]) -> None:
        """One step of building. Raises BadInput with what it said."""
        done = subprocess.run(command, capture_output=True, text=True, cwd=self.folder)
        if done.returncode:
            said = " ".join(done.stderr.split())[-600:]
            raise BadInput(
                f"toolchain {self.name}: could not be built in {self.home}: {said} Mend that (is there a "
                "network?) and run: anywhere doctor --fix."
            )

    def start(
        self,
        log: Path,
        preload: Sequence[Path] = (),
        environment: Mapping[str, str] | None = None,
        memory_limit: int = MEMORY_LIMIT,
    ) -> "Worker":
        """A worker, importing `preload` while we go on. Build the toolchain before."""
        return Worker(self, log, preload, environment or {}, memory_limit)

    @property
    def environment(self) -> dict[str, str]:
        """Variables its worker is started with."""
        return {}

    def command(self, events: int, preload: Sequence[Path]) -> list[str]:
        """The worker's command line. `-I`: no variable and no folder of the user changes what is imported."""
        return [str(self._python), "-I", str(ROOT / "export" / "worker.py"), str(ROOT), str(events), *map(str, preload)]


class Worker:
    """A process in a toolchain that does one job after the other."""

    def __init__(
        self,
        toolchain: Toolchain,
        log: Path,
        preload: Sequence[Path],
        environment: Mapping[str, str],
        memory_limit: int,
    ):
        self.toolchain, self.log, self.memory_limit = toolchain, log, memory_limit
        self.alive = True
        self._ready = False
        self._jobs = 0
        self._events: queue.Queue[str | None] = queue.Queue()
        self._scratch = tempfile.mkdtemp(prefix="anywhere-")
        log.parent.mkdir(parents=True, exist_ok=True)
        ours, theirs = os.pipe()
        try:
            with log.open("ab") as output:
                self._process = subprocess.Popen(
                    toolchain.command(theirs, preload),
                    stdin=subprocess.PIPE,
                    stdout=output,
                    stderr=output,
                    pass_fds=(theirs,),
                    start_new_session=True,  # Ctrl-C is ours to handle; and the whole group can be killed
                    env={**os.environ, "TMPDIR": self._scratch, **toolchain.environment, **environment},
                )
        finally:
            os.close(theirs)
        threading.Thread(target=self._read, args=(ours,), daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _read(self, pipe: int) -> None:
        with os.fdopen(pipe, errors="replace") as lines:
            for line in lines:
                self._events.put(line)
        self._events.put(None)

    def call(self, file: Path, function: str, arguments: Mapping[str, Any], log: Path, limit_s: float) -> Done:
        """Run `function(**arguments)` of a file in the worker. Arguments and result are JSON. Raises WorkerFailed."""
        self._jobs += 1
        job = {"id": self._jobs, "file": str(file), "function": function, "arguments": arguments, "log": str(log)}
        log.parent.mkdir(parents=True, exist_ok=True)
        log.touch()
        assert self._process.stdin
        try:
            self._process.stdin.write(json.dumps(job).encode() + b"\n")
            self._process.stdin.flush()
        except OSError:
            pass  # it is dead: the wait below finds out how it ended
        if not self._ready:
            self._wait(START_LIMIT_S)
            self._ready = True
        event = self._wait(limit_s)
        if event.get("id") != self._jobs:
            raise self._fail(f"answered {event} to job {self._jobs}")
        if event.get("event") == "error":
            raise WorkerFailed(f"{event.get('kind')}: {event.get('message')}", str(event.get("kind")))
        return Done(event.get("value"), float(event["seconds"]), int(event["peak_memory"]))

    def _wait(self, limit_s: float) -> dict[str, Any]:
        deadline = time.monotonic() + limit_s
        while True:
            try:
                line = self._events.get(timeout=TICK_S)
            except queue.Empty:
                used = memory_of_group(self._process.pid)
                if used > self.memory_limit:
                    raise self._fail(
                        f"used {used / 2**30:.1f} GiB of memory ({self.memory_limit / 2**30:.1f} allowed) and was "
                        "killed"
                    ) from None
                if time.monotonic() > deadline:
                    raise self._fail(f"gave no answer within {limit_s:g} s and was killed") from None
                continue
            if line is None:
                raise self._fail(_ending(self._end()))
            try:
                event = json.loads(line)
                if isinstance(event, dict) and event.get("event") in {"ready", "result", "error"}:
                    return event
            except ValueError:
                pass
            raise self._fail(f"wrote what is no event: {line.strip()[:120]!r}")

    def _fail(self, what: str) -> WorkerFailed:
        self.kill()
        return WorkerFailed(f"the worker of toolchain {self.toolchain.name} {what}")

    def _end(self) -> int:
        try:
            return self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self.kill()
            return self._process.wait()

    def kill(self) -> None:
        """At once, with all processes it has started and what they left in the folder for temporary files."""
        self.alive = False
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        shutil.rmtree(self._scratch, ignore_errors=True)

    def close(self) -> None:
        """Let it end. It has done its jobs, so nothing of it is worth waiting for."""
        if self.alive:
            self.kill()
        if self._process.stdin:
            with suppress(BrokenPipeError):
                self._process.stdin.close()


def _ending(status: int) -> str:
    if status < 0:
        hint = " (out of memory?)" if -status == signal.SIGKILL else ""
        return f"was ended by signal {signal.Signals(-status).name}{hint}"
    return f"ended with exit status {status} before it answered"


def memory_of_group(group: int) -> int:
    """Bytes of all processes of a group in memory now, what they share counted for each; 0 where /proc does not say.

    https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html: the group is field 5, the resident pages field 24.
    """
    pages = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it has just ended
            after_name = stat.read_text().rpartition(")")[2].split()  # from field 3 on
            if int(after_name[2]) == group:
                pages += int(after_name[21])
    return pages * os.sysconf("SC_PAGE_SIZE")


def cache_folder() -> Path:
    """Where environments are kept for all checkouts of this user: $ANYWHERE_CACHE or the platform's place."""
    given = os.environ.get("ANYWHERE_CACHE")
    return Path(given) if given else platformdirs.user_cache_path("anywhere")


def find(folder: Path = FOLDER) -> dict[str, Toolchain]:
    """Every toolchain by name."""
    return {path.parent.name: _open(path.parent) for path in sorted(folder.glob("*/requirements.txt"))}


def _open(folder: Path) -> Toolchain:
    """A toolchain, of the kind that its files tell."""
    from export.emulation import Emulated  # which build on this file
    from export.node import Node

    kinds = {"package.json": Node, "packages.txt": Emulated}
    kind = next((kind for file, kind in kinds.items() if (folder / file).exists()), Toolchain)
    return kind(folder.name, folder)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def uv_path() -> str:
    """The uv that came with this package. Raises FileNotFoundError."""
    import uv

    return uv.find_uv_bin()
