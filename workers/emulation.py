"""A toolchain of another processor: an ARM64 Python and its libraries, run by qemu's user mode on this machine.

    Emulated("litert_arm64", folder).build()        # about 60 MB from Debian and the package index, no root

Besides the lock, its folder has `packages.txt`: the Debian packages that Python comes from. apt and dpkg of this
machine fetch, verify and unpack these and their dependencies into one folder, which qemu presents to the program as
`/`; nothing is installed. The packages' versions are those of this machine's Debian (12 and 13 were tried: Python 3.11
and 3.13), the wheels those of the lock, whose `.python-version` is the least Python they run on.
"""

import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from records.errors import BadInput
from workers.toolchain import Toolchain, uv_path

QEMU = "qemu-aarch64-static"
CPU = "cortex-a76"
"""With its default, which has every extension there is, qemu 7.2 computes LiteRT's dynamic range kernels wrongly."""
ARCHITECTURE = "arm64"
PLATFORM = "aarch64-manylinux_2_36"
"""Wheels for the C library of Debian 12, and so of all later ones."""


@dataclass(frozen=True)
class Emulated(Toolchain):
    """An environment whose programs this machine can only emulate; optional, for that is slow."""

    @property
    def optional(self) -> bool:
        """True: without it only its own runner is missing."""
        return True

    @property
    def needs(self) -> dict[str, str]:
        """Return the programs that must be installed, each with the command that installs it."""
        return {QEMU: "apt-get install qemu-user-static", "apt-get": "run on Debian 12 or later"}

    @property
    def packages(self) -> list[str]:
        """Return the names of the Debian packages, without their dependencies."""
        return (self.folder / "packages.txt").read_text(encoding="utf-8").split()

    @property
    def _content(self) -> str:
        return super()._content + " ".join(self.packages)

    @property
    def _python(self) -> Path:
        return self.home / "usr" / "bin" / "python3"

    def _fill(self, new: Path) -> None:
        """Make a root file system with Python, and the wheels where Debian's Python looks for packages."""
        new.mkdir()
        self._unpack(new)
        version = (new / "usr" / "bin" / "python3").readlink().name.removeprefix("python")
        wheels = ["--target", str(new / "usr" / "lib" / "python3" / "dist-packages"), "--only-binary", ":all:"]
        self._run([uv_path(), "--quiet", "pip", "install", "--python-platform", PLATFORM, "--python-version", version,
                   *wheels, "--no-deps", "--require-hashes", "--requirements", str(self.lock)])  # fmt: skip
        self._run([*emulator(new), str(new / "usr" / "bin" / "python3"), "-I", "-c", "import ctypes, json"])

    def _unpack(self, new: Path) -> None:
        apt = new / "apt"
        (apt / "state" / "lists" / "partial").mkdir(parents=True)
        (apt / "cache" / "archives" / "partial").mkdir(parents=True)
        (apt / "status").touch()
        # A source of somebody else that has nothing for this architecture fails here and is no matter.
        subprocess.run([*_apt_get(apt), "update"], capture_output=True)
        self._run([*_apt_get(apt), "--yes", "--no-install-recommends", "--download-only", "install", *self.packages])
        for package in sorted((apt / "cache" / "archives").glob("*.deb")):
            self._run(["dpkg-deb", "--extract", str(package), str(new)])
        shutil.rmtree(apt)
        # Debian 13's C library is in /usr/lib, while every program names its loader in /lib.
        if not (new / "lib").exists():
            (new / "lib").symlink_to("usr/lib")

    def command(self, events: int, preload: Sequence[Path]) -> list[str]:
        """Return the worker's command line, in the emulator. Raises BadInput if the emulator is not on this machine."""
        if QEMU in self.missing:
            raise BadInput(f"toolchain {self.name}: {QEMU} is not on this machine. Get it: {self.needs[QEMU]}.")
        return [*emulator(self.home), *super().command(events, preload)]


def emulator(root: Path) -> list[str]:
    """Return the start of a command line that runs a program of the other processor, with `root` as its file system."""
    return [QEMU, "-cpu", CPU, "-L", str(root)]


def _apt_get(folder: Path) -> list[str]:
    """Return the start of an apt-get command that uses this machine's sources and keys and keeps its state in `folder`.

    Its lists, its cache and its (empty) set of installed packages are there, so the machine's own are not touched.
    """
    options = [
        f"Dir::State={folder / 'state'}",
        f"Dir::State::status={folder / 'status'}",
        f"Dir::Cache={folder / 'cache'}",
        f"APT::Architecture={ARCHITECTURE}",
        f"APT::Architectures::={ARCHITECTURE}",
        "APT::Sandbox::User=root",  # as root it would fetch as a user who may not write here
        "Acquire::Languages=none",
        "Debug::NoLocking=true",
    ]
    return ["apt-get", "--quiet", *(word for option in options for word in ("--option", option))]
