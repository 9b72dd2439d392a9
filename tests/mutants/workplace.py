"""Where the mutants are made: digits in colour, the small network trained on them, and everything exported from it.

folder = prepare(Path("/tmp/mutants"))     # …/runs/mutants; a minute the first time, then it is in the cache
"""

import tempfile
from collections.abc import Collection
from pathlib import Path

from export.target import find, plan
from tests.kept import bring
from tests.mutants import digits, network
from tests.mutants.faults import DEVIATION, MEAN

SETTINGS = {
    "model.name": "network:network",
    "model.mean": list(MEAN),
    "model.deviation": list(DEVIATION),
    "data.dataset": "folder",
    "data.folder": "images",
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
    name = "mutants" if model == "network" else model.lower()
    conversions = [one for one in plan(find()) if not targets or one.name in targets]
    with tempfile.TemporaryDirectory() as scratch:
        images = Path(scratch) / "images"
        digits.write(images)
        values = SETTINGS | {"model.name": f"network:{model}"}
        bring(name, values, place, conversions, beside=[Path(network.__file__), images])
    return place / "runs" / name
