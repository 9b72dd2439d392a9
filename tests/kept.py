"""Runs that take minutes to make, kept in the cache folder by what they are made of, for all checkouts of this user.

    place = bring("tiny", TINY, tmp_path / "work", plan(find()))     # a copy: `work/runs/tiny`, trained and exported

A training is kept under the hash that the product itself gives to what makes an artifact (`recipe`): its
configuration, the code of the rooms that train, and the versions of the environment. What was exported lies beside
it and goes through the product's own `convert`, which makes anew what is not as its manifest says, and that alone.
`make nightly` starts with an empty cache.
"""

import fcntl
import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import chdir, contextmanager
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from export.artifact import recipe
from export.convert import convert
from export.run import Run
from export.target import Conversion
from pipeline import config as configs
from pipeline.checkpoint import Checkpoint
from pipeline.train import settle, train
from workers import registry
from workers.toolchain import ROOT, cache_folder

TRAINS = ("pipeline", "measures", "records")
"""Rooms whose code decides what a training gives."""


def bring(
    name: str,
    values: Mapping[str, Any],
    place: Path,
    conversions: Sequence[Conversion] = (),
    beside: Sequence[Path] = (),
    make: Callable[[str, Mapping[str, Any]], object] | None = None,
) -> Path:
    """Copy `runs/NAME`, trained with these values and with these conversions, into the folder `place`; return that.

    beside: files and folders that lie beside `runs/`, such as the module of a network of the test's own.
    make: makes the run in the current folder in another way, of its name and the values, such as by adopting a model.
    """
    folder = cache_folder() / "tests" / f"{name}-{_key(values, beside)[:16]}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with _alone(folder.with_suffix(".lock")):
        if not folder.exists():
            _make(name, values, folder, beside, make or _train)
        kept = _run(folder, name)
        with chdir(folder):  # where workers import the test's own network from
            outcomes = convert(kept, conversions, jobs=2, force=False, report=lambda _: None)
        assert [outcome.reason for outcome in outcomes if outcome.artifact is None] == []
        shutil.copytree(folder, place, dirs_exist_ok=True, ignore=shutil.ignore_patterns("artifacts", "logs"))
        for conversion in conversions:  # and nothing that another test asked for
            shutil.copytree(kept.place(conversion.name), _run(place, name).place(conversion.name))
        if conversions:
            _run(place, name).expect(conversion.name for conversion in conversions)
    return place


def _key(values: Mapping[str, Any], beside: Sequence[Path]) -> str:
    code = [file for room in TRAINS for file in sorted((ROOT / room).rglob("*.py"))]
    own = [file for path in beside for file in ([path] if path.is_file() else sorted(path.rglob("*")))]
    files = [file for file in own if file.is_file()]
    return recipe([*code, *files], registry.find()["torch"].key, [json.dumps(values, sort_keys=True)])


def _make(
    name: str,
    values: Mapping[str, Any],
    folder: Path,
    beside: Sequence[Path],
    make: Callable[[str, Mapping[str, Any]], object],
) -> None:
    """Make a run in a folder that is renamed when it is whole."""
    new, threads = folder.with_suffix(".new"), torch.get_num_threads()
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir()
    for path in beside:
        shutil.copytree(path, new / path.name) if path.is_dir() else shutil.copy(path, new)
    torch.set_num_threads(1)  # so small that threads cost more than they save, and the weights are the same everywhere
    try:
        with chdir(new):
            make(name, values)
    finally:
        torch.set_num_threads(threads)
    new.rename(folder)


def _train(name: str, values: Mapping[str, Any]) -> None:
    train(settle(configs.read(None, dict(values))), Path("runs") / name, None, Console(quiet=True))


def _run(place: Path, name: str) -> Run:
    folder = place / "runs" / name
    return Run(folder, Checkpoint.open(folder / "checkpoint"))


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Keep every other process out that wants the same run."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
