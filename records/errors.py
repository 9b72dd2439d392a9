"""Errors that a user can mend, each in one sentence: what, where, what was allowed, what to do.

    ValueError
    └── BadInput          the command line prints its message alone and exits 2
        └── NoRoom        the disk is full

Everything else that is raised is a bug of ours and shows its traceback.
"""

import difflib
import errno
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from enum import IntEnum
from pathlib import Path


class Exit(IntEnum):
    """The exit status of the command."""

    PASSED = 0
    FAILED = 1
    """The command ran, and its answer is no: no parity, a failed conversion, a machine that lacks something."""
    BAD_INPUT = 2
    """The command could not run: an argument or a file is wrong."""
    INTERRUPTED = 130
    """The user pressed Ctrl-C: 128 + SIGINT, as shells count."""


class BadInput(ValueError):
    """An input that cannot be used. The message is one sentence or two, the last one the remedy."""


AGAIN = "Train again: anywhere train --force, or adopt again: anywhere adopt MODEL --force"
"""What mends a checkpoint; without the sentence's stop."""
FIRST = "Train first: anywhere train, or adopt a model: anywhere adopt MODEL"
"""What to do where there is no checkpoint; likewise."""


FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
"""Errors of a disk, a quota or a limit that is used up."""
CLOSED = {errno.EACCES, errno.EPERM, errno.EROFS}
"""Errors of a place that may not be written to."""


class NoRoom(BadInput):
    """The disk (or the user's share of it) is full; what was half written has been removed."""


def shortened(what: object, length: int = 200) -> str:
    """Return a name or another's message as one line, cut off: what stands in a file may be of any length."""
    text = " ".join(str(what).split())
    return text if len(text) <= length else f"{text[:length]}…"


def some(names: Sequence[str], count: int = 5) -> str:
    """Return the first names for a sentence, and how many more there are: `conv1, fc and 3 more`."""
    more = f" and {len(names) - count} more" if len(names) > count else ""
    return f"{', '.join(map(shortened, names[:count]))}{more}"


class NotProved(Exception):
    """The error of a report that did not pass: the rows that block, one a line."""


def unknown(kind: str, name: str, allowed: Iterable[str], where: str = "") -> BadInput:
    """Return the error for a name that does not exist, with the nearest names that do."""
    names = sorted(allowed)
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    hint = f"Nearest: {', '.join(near)}." if near else f"Allowed: {some(names, 200)}."
    return BadInput(f"{where + ': ' if where else ''}unknown {kind} {shortened(name)!r}. {hint}")


@contextmanager
def room_for(place: Path, remedy: str = "Make it writable, or work in another folder.") -> Iterator[None]:
    """Turn "no space left" into `NoRoom`, which names the place, and a place that may not be written to into BadInput.

    Covers quotas and file size limits. Where the error names a file that lies elsewhere, such as in the folder for
    temporary ones, that is named. remedy: what to do about a place that may not be written to.
    """
    try:
        yield
    except OSError as error:
        where = _at(error, place)
        if error.errno in CLOSED:
            raise BadInput(f"{where}: cannot be written to ({error.strerror}). {remedy}") from error
        if error.errno not in FULL:
            raise
        raise NoRoom(
            f"{where}: no room left on the disk ({error.strerror}). Nothing was replaced; free some space "
            "and run the same command again."
        ) from error


def _at(error: OSError, place: Path) -> Path:
    """Return where an error is: the place itself for what lies in it or beside it, else the file that it names."""
    if not isinstance(error.filename, str | bytes):
        return place
    file = Path(os.fsdecode(error.filename)).absolute()
    return place if file.is_relative_to(place.absolute().parent) else file


def raise_if_full(error: BaseException) -> None:
    """Raise the error of a full disk that another one came of, if one did: what was tried is not to blame for it."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno in FULL | {errno.EROFS}:
            raise cause
        cause = cause.__cause__ or cause.__context__
