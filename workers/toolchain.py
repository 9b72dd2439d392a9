"""A toolchain: a locked foreign environment, built once into the user's cache under the hash of its lock.

    toolchain = find()["litert"]               # of workers/registry.py
    toolchain.build()
    with toolchain.start(log, preload=[file]) as worker:
        done = worker.call(file, "convert", {...}, log=..., limit_s=900)

A toolchain without `requirements.in` is the environment that this process runs in. Other kinds are in workers/node.py
(JavaScript) and workers/emulation.py (another processor).
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import platformdirs

from records.errors import BadInput, room_for
from workers.worker import MEMORY_LIMIT, Worker

ROOT = Path(__file__).resolve().parents[1]
"""The folder that the project's packages lie in."""
CACHE_REMEDY = "Make the cache folder writable, or set ANYWHERE_CACHE to another one."
DECIDING = (
    "ml_dtypes",
    "numpy",
    "onnx",
    "onnx-ir",
    "onnxruntime",
    "onnxscript",
    "safetensors",
    "torch",
    "torchvision",
)
"""Packages of our own environment whose version may change an artifact; whatever else is installed does not."""


@dataclass(frozen=True)
class Toolchain:
    """A locked environment of Python packages."""

    name: str
    folder: Path

    @property
    def own(self) -> bool:
        """True if it is the environment of this very process."""
        return not (self.folder / "requirements.in").exists()

    @property
    def lock(self) -> Path:
        """Return the lock: every package with version and hashes, for `uv pip sync` or `pip --require-hashes`."""
        return self.folder / "requirements.txt"

    @property
    def python_version(self) -> str:
        """Return the version of Python that it is locked for, `3.12`; empty: the one of this process."""
        file = self.folder / ".python-version"
        return file.read_text(encoding="utf-8").split()[0] if file.exists() else ""

    @property
    def key(self) -> str:
        """Return a sha256, in hexadecimal, that identifies what is installed in it."""
        text = "\n".join(f"{name}=={_version(name)}" for name in DECIDING) if self.own else self._content
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def _content(self) -> str:
        return self.lock.read_text(encoding="utf-8") + self.python_version

    @property
    def optional(self) -> bool:
        """True if a machine without it counts as complete."""
        return False

    @property
    def needs(self) -> dict[str, str]:
        """Return the programs that must be on the machine, because they are not built here, each with how to get it."""
        return {}

    @property
    def missing(self) -> list[str]:
        """Return those of `needs` that are not on this machine."""
        return [program for program in self.needs if shutil.which(program) is None]

    @property
    def home(self) -> Path:
        """Return the folder where the environment is, or will be built."""
        return Path(sys.prefix) if self.own else cache_folder() / "toolchains" / f"{self.name}-{self.key[:16]}"

    @property
    def ready(self) -> bool:
        """True if a worker can be started without building anything."""
        return self.own or self._python.exists()

    @property
    def _python(self) -> Path:
        return Path(sys.executable) if self.own else self.home / "bin" / "python"

    def build(self) -> None:
        """Build the environment unless it is there; of several processes at once, one builds. Raises BadInput."""
        if self.ready:
            return
        for program in self.missing:
            raise BadInput(f"toolchain {self.name}: {program} is not on this machine. Get it: {self.needs[program]}.")
        with room_for(self.home, CACHE_REMEDY):
            try:
                self.home.parent.mkdir(parents=True, exist_ok=True)
            except (FileExistsError, NotADirectoryError) as error:
                raise BadInput(
                    f"toolchain {self.name}: {self.home.parent} is no folder, nor can one be made. {CACHE_REMEDY}"
                ) from error
            with _locked(self.home.with_suffix(".lock")):
                if not self.ready:
                    self._build()

    def _build(self) -> None:
        new = self.home.with_suffix(".new")
        shutil.rmtree(new, ignore_errors=True)
        try:
            self._fill(new)
            new.rename(self.home)
        finally:
            shutil.rmtree(new, ignore_errors=True)

    def _fill(self, new: Path) -> None:
        """Make the environment in a folder that does not exist and will be renamed."""
        uv = [uv_path(), "--quiet"]
        self._run([*uv, "venv", "--relocatable", "--python", self.python_version or sys.executable, str(new)])
        python = str(new / "bin" / "python")
        self._run([*uv, "pip", "sync", "--require-hashes", "--compile-bytecode", "--python", python, str(self.lock)])

    def _run(self, command: Sequence[str]) -> None:
        """Run one step of building. Raises BadInput with the last of its stderr."""
        done = subprocess.run(command, capture_output=True, encoding="utf-8", errors="replace", cwd=self.folder)
        if done.returncode:
            message = " ".join(done.stderr.split())[-600:]
            raise BadInput(
                f"toolchain {self.name}: could not be built in {self.home}: {message} Mend that (is there a "
                "network?) and run: anywhere doctor --fix."
            )

    def start(
        self,
        log: Path,
        preload: Sequence[Path] = (),
        environment: Mapping[str, str] | None = None,
        memory_limit: int = MEMORY_LIMIT,
    ) -> Worker:
        """Start a worker, which imports `preload` while this process goes on. The toolchain must have been built."""
        return Worker(
            self.name,
            lambda events: self.command(events, preload),
            log,
            {**self.environment, **(environment or {})},
            memory_limit,
        )

    @property
    def environment(self) -> dict[str, str]:
        """Return the environment variables that its worker is started with."""
        return {}

    def command(self, events: int, preload: Sequence[Path]) -> list[str]:
        """Return the worker's command line. `-I`: no variable and no folder of the user changes what is imported."""
        return [
            str(self._python),
            "-I",
            str(ROOT / "workers" / "inside.py"),
            str(ROOT),
            str(events),
            *map(str, preload),
        ]


def _version(distribution: str) -> str:
    """Return the installed version of a distribution; empty: it is not installed."""
    with suppress(metadata.PackageNotFoundError):
        return metadata.version(distribution)
    return ""


def cache_folder() -> Path:
    """Return the folder of environments for all checkouts of this user: $ANYWHERE_CACHE or the platform's place."""
    folder = os.environ.get("ANYWHERE_CACHE")
    return Path(folder) if folder else platformdirs.user_cache_path("anywhere")


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def uv_path() -> str:
    """Return the path of the uv that was installed with this package. Raises FileNotFoundError."""
    import uv

    return uv.find_uv_bin()
