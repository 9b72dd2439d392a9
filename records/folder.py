"""Folders on disk: written beside their place and renamed into it; a run's folder, and the lock of who writes there.

with exclusive(run_folder("digits")), new_folder(Path("runs/digits/checkpoint")) as new:
    (new / "weights").write_bytes(…)
"""

import fcntl
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from records.errors import BadInput, room_for

CHECKPOINT = "checkpoint/checkpoint.json"
"""What a run's folder holds once there is a checkpoint in it."""


def _old(place: Path) -> Path:
    return place.with_name(f".{place.name}.old")


@contextmanager
def new_folder(place: Path) -> Iterator[Path]:
    """A folder to write in; renamed to `place` at the end, removed on an error. What was there before stays until then.

    Two renames, for no system call of Python's swaps folders: a kill between them leaves the old one aside, and
    `recover_folder` puts it back.
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
    """Undo a replacement that a kill cut in two."""
    if _old(place).exists():
        if place.exists():
            _remove(_old(place))
        else:
            _old(place).rename(place)


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def run_folder(name: str, runs: Path = Path("runs")) -> Path:
    """The folder of the run of that name. Raises BadInput for a name that is more than a name."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", name):
        raise BadInput(
            f"run {name!r}: not a name of a folder in {runs}/. Allowed are up to 100 letters, digits, '.', '_' "
            "and '-', "
            "a letter or digit first. Choose another --run."
        )
    return runs / name


@contextmanager
def exclusive(run: Path) -> Iterator[None]:
    """Keep other processes from writing into the run's folder meanwhile. Raises BadInput where one already does."""
    with room_for(run):
        run.mkdir(parents=True, exist_ok=True)
        file = (run / ".lock").open("w")
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise BadInput(
                f"run {run.name}: another process is writing to {run}. Wait for it, or choose another --run."
            ) from error
        try:
            yield
        finally:
            if [path.name for path in run.iterdir()] == [".lock"]:  # nothing came of it
                shutil.rmtree(run)


def latest_run(runs: Path = Path("runs")) -> str:
    """The name of the run whose checkpoint was written last. Raises BadInput where there is none."""
    records = list(runs.glob(f"*/{CHECKPOINT}"))
    if not records:
        raise BadInput(f"{runs.absolute()}: no run with a checkpoint. Train first: anywhere train.")
    return max(records, key=lambda path: path.stat().st_mtime).parents[1].name
