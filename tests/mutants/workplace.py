"""Where the mutants are made: digits in colour, the small network trained on them, and everything exported from it.

folder = prepare(Path("/tmp/mutants"))     # …/runs/mutants; half a minute, and as long again
"""

import shutil
from collections.abc import Collection
from pathlib import Path

import torch
from rich.console import Console

from export.convert import convert
from export.run import Run
from export.target import find, plan
from pipeline import config as configs
from pipeline.checkpoint import Checkpoint
from pipeline.train import settle, train
from tests.mutants import digits, network
from tests.mutants.faults import DEVIATION, MEAN

SETTINGS = {
    "model.name": "network:network",
    "model.mean": list(MEAN),
    "model.deviation": list(DEVIATION),
    "data.dataset": "folder",
    "data.image_size": 24,
    "data.augmentation": "none",
    "data.golden": 128,
    "data.calibration": 128,
    "train.epochs": 14,
    "train.learning_rate": 0.004,
    "train.channels_last": False,
}
"""Sure enough of its decisions that integers agree."""


def prepare(place: Path, model: str = "network", targets: Collection[str] = ()) -> Path:
    """A run in `place/runs`; to be called, and used, in the folder `place`.

    model: a function of network.py. targets: `tflite/float32` …; none: all.
    """
    shutil.copy(str(network.__file__), place / "network.py")
    digits.write(place / "images")
    folder, threads = place / "runs" / ("mutants" if model == "network" else model.lower()), torch.get_num_threads()
    torch.set_num_threads(1)  # so small that threads cost more than they save, and the weights are the same everywhere
    try:
        wanted = SETTINGS | {"model.name": f"network:{model}", "data.folder": str(place / "images")}
        train(settle(configs.read(None, wanted)), folder, None, Console(quiet=True))
    finally:
        torch.set_num_threads(threads)
    run = Run(folder, Checkpoint.open(folder / "checkpoint"))
    conversions = [one for one in plan(find()) if not targets or one.name in targets]
    outcomes = convert(run, conversions, jobs=2, force=False, report=lambda _: None)
    assert [one.reason for one in outcomes if one.artifact is None] == []
    return folder
