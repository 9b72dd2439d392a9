"""Programs that a runtime needs and cannot bring along: where they are on this machine, and how to get them.

path("chromium")                       # "/usr/bin/chromium" or None
"""

import os
import shutil
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Program:
    """A program that only the user can install."""

    variable: str
    """The environment variable that holds its path, where it is not on the PATH."""
    names: tuple[str, ...]
    """Names that it may have."""
    get: str
    """How to get it, for a sentence."""


PROGRAMS = {
    "chromium": Program(
        "ANYWHERE_CHROMIUM",
        ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable"),
        "apt-get install chromium, or name one in ANYWHERE_CHROMIUM",
    )
}


def path(name: str) -> str | None:
    """Return the path of a program; None: it is not on this machine."""
    program = PROGRAMS[name]
    configured = os.environ.get(program.variable)
    if configured:
        return configured if os.access(configured, os.X_OK) else None
    return next((place for candidate in program.names if (place := shutil.which(candidate))), None)


def environment(names: Iterable[str]) -> dict[str, str]:
    """Return the environment variables that tell a worker where these programs are."""
    return {PROGRAMS[name].variable: place for name in names if (place := path(name))}
