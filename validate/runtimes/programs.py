"""Programs a runtime needs and cannot bring along: where they are on this machine, and how to get them.

path("chromium")                       # "/usr/bin/chromium" or None
"""

import os
import shutil
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Program:
    """One of them."""

    variable: str
    """Names its place, where it is not on the PATH."""
    names: tuple[str, ...]
    """What it may be called."""
    get: str
    """How to get it."""


PROGRAMS = {
    "chromium": Program(
        "ANYWHERE_CHROMIUM",
        ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable"),
        "apt-get install chromium, or name one in ANYWHERE_CHROMIUM",
    )
}


def path(name: str) -> str | None:
    """Where a program is; None: nowhere."""
    program = PROGRAMS[name]
    given = os.environ.get(program.variable)
    if given:
        return given if os.access(given, os.X_OK) else None
    return next((found for one in program.names if (found := shutil.which(one))), None)


def environment(names: Iterable[str]) -> dict[str, str]:
    """Variables that tell a worker where they are."""
    return {PROGRAMS[name].variable: there for name in names if (there := path(name))}
