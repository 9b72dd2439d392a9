"""Ends what a command has started when the command itself is gone, however it ended: SIGKILL leaves it no time.

    watchdog = Watchdog()                  # one for a command: a process of its own, of Python's standard library
    watchdog.keep(worker.pid, scratch)     # kill this process group, and remove this folder, when we are no more
    watchdog.forget(worker.pid)            # it has ended

The process reads from a pipe whose other end the command alone holds: at the end of the pipe it ends the groups that
are left.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path


class Watchdog:
    """A process that outlives the command by the moment it takes to end the others."""

    def __init__(self) -> None:
        """Start none: the first group does."""
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._pipe = -1
        self._owner = 0

    def keep(self, group: int, folder: str) -> None:
        """End a process group, and remove its folder, when this process is no more."""
        self._say({"group": group, "folder": folder})

    def forget(self, group: int) -> None:
        """Leave a process group alone, which has ended: its number may be given to another."""
        self._say({"group": group})

    def _say(self, what: dict[str, object]) -> None:
        with self._lock:
            if self._process is None or self._owner != os.getpid():  # after a fork it is the parent's
                self._owner = os.getpid()
                self._start()
            with suppress(BrokenPipeError):  # somebody killed it; workers are ended as before
                os.write(self._pipe, json.dumps(what).encode() + b"\n")

    def _start(self) -> None:
        reading_end, self._pipe = os.pipe()
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", str(Path(__file__).absolute())],
                stdin=reading_end,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,  # a Ctrl-C, and a kill of our group, are not for it
            )
        finally:
            os.close(reading_end)


def main() -> None:
    """Read from stdin until nobody can write there any more; then end what is left."""
    folders: dict[int, str] = {}
    for line in sys.stdin:
        said = json.loads(line)
        if "folder" in said:
            folders[said["group"]] = said["folder"]
        else:
            folders.pop(said["group"], None)
    for group, folder in folders.items():
        with suppress(ProcessLookupError):
            os.killpg(group, signal.SIGKILL)
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
