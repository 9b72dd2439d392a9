"""Ends what a command has started when the command itself is gone, however it ended: SIGKILL leaves it no time.

    watchdog = Watchdog()                  # one for a command: a process of its own, of Python's standard library
    watchdog.start()                       # before there is anything to be left
    watchdog.keep(scratch)                 # remove this folder when we are no more
    watchdog.keep(scratch, worker.pid)     # … and kill this process group
    watchdog.forget(scratch)               # it is removed, and the group has ended

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

    def start(self) -> None:
        """Start the process, unless it is there."""
        with self._lock:
            if self._process is None or self._owner != os.getpid():  # after a fork it is the parent's
                self._owner = os.getpid()
                self._start()

    def keep(self, folder: str, group: int | None = None) -> None:
        """Remove a folder, and end the process group that uses it, when this process is no more."""
        self._say({"folder": folder, "group": group})

    def forget(self, folder: str) -> None:
        """Leave a folder and its process group alone, which has ended: its number may be given to another."""
        self._say({"folder": folder})

    def _say(self, what: dict[str, object]) -> None:
        self.start()
        with self._lock, suppress(BrokenPipeError):  # somebody killed it; workers are ended as before
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
    groups: dict[str, int | None] = {}
    for line in sys.stdin:
        said = json.loads(line)
        if "group" in said:
            groups[said["folder"]] = said["group"]
        else:
            groups.pop(said["folder"], None)
    for folder, group in groups.items():
        if group is not None:
            with suppress(ProcessLookupError):
                os.killpg(group, signal.SIGKILL)
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
