"""A worker: a process in a toolchain that does one job after the other, and is killed rather than waited for.

    with toolchain.start(log) as worker:
        done = worker.call(file, "convert", {"source": "…"}, log=..., limit_s=900)
        done.value, done.seconds, done.peak_memory

A worker that crashes, hangs, needs too much memory or writes rubbish raises `WorkerFailed`, and nothing else.
"""

import json
import os
import queue
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from records.folder import Scratch
from workers.watchdog import Watchdog

MEMORY_LIMIT = max(12 * 2**30, os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") * 2 // 3)
"""Bytes of memory a worker may have in use, with all processes it has started: two thirds of the machine's, and 12 GiB
where that is more. TensorFlow needs 25 times the weights of VGG to make constants of them."""
TICK_S = 0.2
"""Seconds between two readings of its memory."""
START_LIMIT_S = 180.0
"""Seconds a worker may take to import what its first job needs."""
WATCHDOG = Watchdog()
"""Ends the workers that this command leaves behind."""


class WorkerFailed(Exception):
    """The error of a job that gave no result. The message says why; what the worker printed is in the log."""

    def __init__(self, message: str, kind: str = "", errno: int | None = None):
        """Keep the message.

        kind: the name of the exception in the worker; empty where the worker itself failed. errno: the system's number
        of the error, where the exception has one, as that of a full disk.
        """
        super().__init__(message)
        self.kind, self.errno = kind, errno


@dataclass(frozen=True)
class Done:
    """The result of a job."""

    value: Any
    seconds: float
    peak_memory: int
    """Bytes, of the worker's whole life so far."""


class Worker:
    """A process in a toolchain that does one job after the other."""

    def __init__(
        self,
        toolchain: str,
        command: Callable[[int], Sequence[str]],
        log: Path,
        environment: Mapping[str, str],
        memory_limit: int,
    ):
        """Start the process. command: returns its command line, given the file descriptor that it writes events to."""
        self.toolchain, self.log, self.memory_limit = toolchain, log, memory_limit
        self.alive = True
        self._ready = False
        self._jobs = 0
        self._events: queue.Queue[str | None] = queue.Queue()
        WATCHDOG.start()
        self._scratch = Scratch()
        WATCHDOG.keep(str(self._scratch.folder))
        try:
            reading_end = self._start(command, environment)
        except BaseException:  # it lacks a program, or the disk is full
            self._remove_scratch()
            raise
        WATCHDOG.keep(str(self._scratch.folder), self._process.pid)
        threading.Thread(target=self._read, args=(reading_end,), daemon=True).start()

    def _start(self, command: Callable[[int], Sequence[str]], environment: Mapping[str, str]) -> int:
        """Start the process; return the file descriptor that its events come from."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        reading_end, writing_end = os.pipe()
        try:
            with self.log.open("ab") as output:
                self._process = subprocess.Popen(
                    command(writing_end),
                    stdin=subprocess.PIPE,
                    stdout=output,
                    stderr=output,
                    pass_fds=(writing_end,),
                    start_new_session=True,  # Ctrl-C is ours to handle; and the whole group can be killed
                    env={**os.environ, "TMPDIR": str(self._scratch.folder), **environment},
                )
        except BaseException:
            os.close(reading_end)
            raise
        finally:
            os.close(writing_end)
        return reading_end

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _read(self, pipe: int) -> None:
        with os.fdopen(pipe, encoding="utf-8", errors="replace") as lines:
            for line in lines:
                self._events.put(line)
        self._events.put(None)

    def call(self, file: Path, function: str, arguments: Mapping[str, Any], log: Path, limit_s: float) -> Done:
        """Run `function(**arguments)` of a file in the worker. Arguments and result are JSON. Raises WorkerFailed."""
        self._jobs += 1
        job = {
            "id": self._jobs,
            "file": str(file),
            "function": function,
            "arguments": arguments,
            "log": str(log),
            "limit_s": limit_s,  # after which, and some seconds more, it ends itself if we do not
        }
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
            kind = str(event.get("kind"))
            raise WorkerFailed(f"{kind}: {event.get('message')}", kind, event.get("errno"))
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
        return WorkerFailed(f"the worker of toolchain {self.toolchain} {what}")

    def _end(self) -> int:
        try:
            return self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self.kill()
            return self._process.wait()

    def kill(self) -> None:
        """Kill the process at once, with all processes it has started, and remove its folder for temporary files."""
        self.alive = False
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._remove_scratch()

    def _remove_scratch(self) -> None:
        self._scratch.remove()
        WATCHDOG.forget(str(self._scratch.folder))

    def close(self) -> None:
        """End the process. Its jobs are done, so it is killed rather than waited for."""
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
    """Return the bytes that all processes of a group hold in memory now; 0 where there is no /proc.

    Shared memory counts once for each process. https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html: the group is
    field 5, the resident pages field 24.
    """
    pages = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it has just ended
            after_name = stat.read_text(encoding="utf-8").rpartition(")")[2].split()  # from field 3 on
            if int(after_name[2]) == group:
                pages += int(after_name[21])
    return pages * os.sysconf("SC_PAGE_SIZE")
