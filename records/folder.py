"""Folders on disk: written beside their place and renamed into it; a run's folder, and the lock of who writes there.

with exclusive(run_folder("digits")), new_folder(Path("runs/digits/checkpoint")) as new:
    (new / "weights").write_bytes(…)
"""

import fcntl
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from records.errors import FIRST, BadInput, room_for

LOCK = ".lock"
"""File that is locked while somebody uses the folder it lies in."""
SCRATCH = "anywhere-"
"""What the name of a folder for temporary files begins with."""
CHECKPOINT = "checkpoint/checkpoint.json"
"""What a run's folder holds once there is a checkpoint in it."""


def _old(place: Path) -> Path:
    return place.with_name(f".{place.name}.old")


@contextmanager
def new_folder(place: Path) -> Iterator[Path]:
    """Yield a folder to write in; rename it to `place` at the end, remove it on an error.

    A folder that is already at `place` stays there until the rename. Python has no system call that swaps two folders,
    so there are two renames: a kill between them leaves the old folder aside, and `recover_folder` puts it back.
    """
    new = place.with_name(f".{place.name}.new")
    with room_for(place):
        place.parent.mkdir(parents=True, exist_ok=True)
        recover_folder(place)
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir()
        try:
            yield new
            for path in new.rglob("*"):
                if path.is_file():
                    _sync(path)
            if place.exists():
                place.rename(_old(place))
            new.rename(place)
        except BaseException:
            shutil.rmtree(new, ignore_errors=True)
            recover_folder(place)
            raise
    _remove(_old(place))


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def recover_folder(place: Path) -> None:
    """Finish or undo a replacement of a folder that was killed between its two renames."""
    if _old(place).exists():
        if place.exists():
            _remove(_old(place))
        else:
            _old(place).rename(place)


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def run_folder(name: str, runs: Path = Path("runs")) -> Path:
    """Return the folder of the run of that name. Raises BadInput for a name that is not a plain folder name."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", name):
        raise BadInput(
            f"run {name!r}: not a name of a folder in {runs}/. Allowed are up to 100 letters, digits, '.', '_' "
            "and '-', "
            "a letter or digit first. Choose another --run."
        )
    return runs / name


@contextmanager
def exclusive(run: Path) -> Iterator[None]:
    """Lock the run's folder against other processes that write to it. Raises BadInput if one holds the lock already."""
    with room_for(run):
        run.mkdir(parents=True, exist_ok=True)
        file = (run / LOCK).open("wb")
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise BadInput(
                f"run {run.name}: another process is writing to {run}. Wait for it, or choose another --run."
            ) from error
        for left in [*run.glob(".*.new"), *run.glob("artifacts/*/.*.new"), *run.glob("report/.new")]:
            shutil.rmtree(left, ignore_errors=True)  # half written by one who was killed
        try:
            yield
        finally:
            if [path.name for path in run.iterdir()] == [LOCK]:  # nothing came of it
                shutil.rmtree(run)


class Scratch:
    """A folder for temporary files, locked while the process that made it lives.

    Whoever is killed together with what would clean up after it leaves its folder; the next one removes it.
    """

    def __init__(self) -> None:
        """Make the folder, and remove those whose makers are gone."""
        _remove_left(Path(tempfile.gettempdir()))
        self.folder = Path(tempfile.mkdtemp(prefix=SCRATCH))
        new = self.folder / f"{LOCK}.new"
        self._lock = new.open("wb")
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        new.rename(self.folder / LOCK)  # so that nobody finds the file without its lock

    def __enter__(self) -> Path:
        return self.folder

    def __exit__(self, *_: object) -> None:
        self.remove()

    def remove(self) -> None:
        """Remove the folder with all that is in it."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self._lock.close()


def _remove_left(place: Path) -> None:
    """Remove the folders of `Scratch` that nobody holds any more."""
    for lock in place.glob(f"{SCRATCH}*/{LOCK}"):
        with suppress(OSError), lock.open("rb") as file:  # it may be another user's, or just be removed
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(lock.parent, ignore_errors=True)


def latest_run(runs: Path = Path("runs")) -> str:
    """Return the name of the run whose checkpoint was written last. Raises BadInput where there is none."""
    checkpoints = list(runs.glob(f"*/{CHECKPOINT}"))
    if not checkpoints:
        raise BadInput(f"{runs.absolute()}: no run with a checkpoint. {FIRST}.")
    return max(checkpoints, key=lambda path: path.stat().st_mtime).parents[1].name
