"""The program that runs inside a toolchain: jobs in as JSON lines on stdin, events out as JSON lines on a pipe.

    python -I workers/inside.py ROOT EVENTS_FD [FILE …]

The files are imported at the start, so that a converter's long import overlaps with what the project still prepares for
it. Standard library only: it runs under every toolchain's Python. stdout and stderr go to the log of the job, so that
nothing a converter prints can be taken for an event.
"""

import contextlib
import importlib
import importlib.machinery
import importlib.util
import json
import os
import signal
import sys
import threading
import time
import traceback
from pathlib import Path
from types import ModuleType
from typing import Any

PACKAGES = ("pipeline", "export", "validate", "records", "workers", "measures")


GRACE_S = 5.0
"""Seconds after a job's limit at which this process ends by itself: who started it would have ended it before."""


class Limit:
    """The end of this process, and of all that it has started, unless it is called off in time.

    Whoever waits for the job may have been stopped, or be gone. A thread cannot end the group while a library's C code
    holds Python's lock; then the system's own alarm ends this process alone, as late again.
    """

    def __init__(self, seconds: float):
        """Begin to count."""
        self._timer = threading.Timer(seconds + GRACE_S, self._end)
        self._timer.daemon = True
        self._timer.start()
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_REAL, seconds + 2 * GRACE_S)

    def call_off(self) -> None:
        """End nothing."""
        self._timer.cancel()
        signal.setitimer(signal.ITIMER_REAL, 0)

    @staticmethod
    def _end() -> None:
        if os.getpgrp() == os.getpid():  # the group is ours
            os.killpg(os.getpid(), signal.SIGKILL)
        os._exit(1)


class ProjectFinder:
    """An import hook that finds the project's packages and nothing else of the folder they lie in.

    Installed, that folder is a site-packages full of another Python's libraries: on sys.path they would shadow the
    toolchain's own.
    """

    root = Path()

    @classmethod
    def find_spec(cls, name: str, path: Any = None, target: Any = None) -> importlib.machinery.ModuleSpec | None:
        """Return the spec of one of the project's packages, None for any other module: an entry of `sys.meta_path`."""
        if name not in PACKAGES:
            return None
        folder = cls.root / name
        return importlib.util.spec_from_file_location(
            name, folder / "__init__.py", submodule_search_locations=[str(folder)]
        )


def load(file: str) -> ModuleType:
    """Return the module in a file, imported once."""
    name = "job_" + Path(file).stem + "_" + str(abs(hash(file)))
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, file)
        assert spec and spec.loader
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        try:
            spec.loader.exec_module(module)
        except BaseException:
            del sys.modules[name]
            raise
    return sys.modules[name]


def redirect(log: str) -> None:
    """Append stdout and stderr of this process and of its children to a file."""
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(file, 1)
    os.dup2(file, 2)
    os.close(file)


def run(job: dict[str, Any]) -> dict[str, Any]:
    """Run one job and return its last event: a result, or an error."""
    from workers import memory

    memory.release()
    memory.reset_peak()
    started = time.monotonic()
    redirect(job["log"])
    limit = Limit(float(job["limit_s"]))
    try:
        value = getattr(load(job["file"]), job["function"])(**job["arguments"])
        json.dumps(value)
        event = {"event": "result", "value": value}
    except BaseException as error:  # noqa: BLE001  # sys.exit in a converter included
        with contextlib.suppress(OSError):  # the log may lie on the full disk that is the error
            traceback.print_exc()
        event = {
            "event": "error",
            "kind": type(error).__name__,
            "message": str(error),
            "errno": error.errno if isinstance(error, OSError) else None,
        }
    limit.call_off()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError):
            stream.flush()
    return {**event, "id": job["id"], "seconds": time.monotonic() - started, "peak_memory": memory.peak()}


def main() -> None:
    """Answer jobs until stdin ends."""
    ProjectFinder.root = Path(sys.argv[1])
    sys.meta_path.insert(0, ProjectFinder)
    # Not inherited further: a process that a converter starts must not keep the pipes open.
    events = os.fdopen(os.dup(int(sys.argv[2])), "w", buffering=1, encoding="utf-8")
    jobs = os.fdopen(os.dup(0), encoding="utf-8")
    os.close(int(sys.argv[2]))
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for file in sys.argv[3:]:
        try:
            load(file)
        except BaseException:  # noqa: BLE001
            traceback.print_exc()  # the job that needs it will fail again, and say so
    print(json.dumps({"event": "ready"}), file=events)
    for line in jobs:
        print(json.dumps(run(json.loads(line))), file=events)


if __name__ == "__main__":
    main()
