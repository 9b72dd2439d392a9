"""The registry of toolchains: a folder in `toolchains/` with a lock is one, and its files decide of which kind.

    find()["litert"].start(log)

`requirements.txt` alone: the environment of this process. With `requirements.in`: one of Python packages, in the user's
cache. With `package.json`: of npm packages. With `packages.txt`: of another processor.
"""

from pathlib import Path

from workers.emulation import Emulated
from workers.node import Node
from workers.toolchain import ROOT, Toolchain

FOLDER = ROOT / "toolchains"
KINDS = {"package.json": Node, "packages.txt": Emulated}
"""A file that only toolchains of one kind have → the kind."""


def find(folder: Path = FOLDER) -> dict[str, Toolchain]:
    """Return every toolchain by name."""
    return {path.parent.name: _open(path.parent) for path in sorted(folder.glob("*/requirements.txt"))}


def _open(folder: Path) -> Toolchain:
    """Return the toolchain in a folder, of the kind that its files decide."""
    kind = next((kind for file, kind in KINDS.items() if (folder / file).exists()), Toolchain)
    return kind(folder.name, folder)
