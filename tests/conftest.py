"""Small real things: a folder of images, a model trained for seconds, everything exported from it."""

import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import anywhere
from export.target import find, plan
from pipeline import config as configs
from pipeline.config import Config
from tests.kept import bring
from validate import fresh

TINY = {
    "model.name": "simple_cnn",
    "train.epochs": 4,
    "train.learning_rate": 0.002,
    "data.golden": 64,
    "data.calibration": 32,
}
"""Digits at 28×28 in the textbooks' network, sure enough of its decisions that int8 agrees; some seconds."""


@dataclass(frozen=True)
class Said:
    """What a command printed and its exit status."""

    status: int
    out: str
    err: str


@pytest.fixture(autouse=True)
def one_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Inputs that a validation makes anew are the same in all tests: PyTorch answers for them once a process."""
    monkeypatch.setattr(fresh, "seed_of", lambda asked: asked or 1)


@pytest.fixture
def command(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Said]:
    """Run `anywhere ARGUMENTS` in this process, in the current folder."""

    def run(*arguments: str) -> Said:
        monkeypatch.setattr(sys, "argv", ["anywhere", *arguments])
        monkeypatch.setenv("COLUMNS", "100")
        capfd.readouterr()
        status = 0
        try:
            anywhere.main()
        except SystemExit as ended:
            status = int(ended.code or 0)
        out, err = capfd.readouterr()
        return Said(status, out, err)

    return run


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds `runs/tiny`, trained. Not to be written into: `workplace` is a copy."""
    return bring("tiny", TINY, tmp_path_factory.mktemp("trained"))


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with every target exported. Not to be written into: `released` is a copy."""
    return bring("tiny", TINY, tmp_path_factory.mktemp("exported"), plan(find()))


@pytest.fixture(scope="session")
def native(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with what this very environment converts and runs. Not to be written into: `at_home` is a copy."""
    conversions = [conversion for conversion in plan(find()) if conversion.target.toolchain == "torch"]
    return bring("tiny", TINY, tmp_path_factory.mktemp("native"), conversions)


@pytest.fixture
def workplace(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of its own with `runs/tiny` trained; the current one."""
    return entered(trained, tmp_path / "work", monkeypatch)


@pytest.fixture
def at_home(native: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of its own with `runs/tiny` exported by this very environment; the current one."""
    return entered(native, tmp_path / "work", monkeypatch)


@pytest.fixture
def released(exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of its own with `runs/tiny` exported; the current one."""
    return entered(exported, tmp_path / "work", monkeypatch)


def entered(source: Path, place: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of a folder, and into it."""
    shutil.copytree(source, place)
    monkeypatch.chdir(place)
    return place


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three classes of twenty real scans, one folder per class."""
    root = tmp_path_factory.mktemp("images")
    scans(root, 20)
    return root


def scans(root: Path, each: int) -> None:
    """Of three classes so many scans of digits as 16×16 PNG files, one folder per class."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    for label in range(3):
        (root / f"digit{label}").mkdir(parents=True)
        for number, image in enumerate(digits.images[digits.target == label][:each]):
            gray = np.kron((image * 255 / 16).astype(np.uint8), np.ones((2, 2), np.uint8))
            Image.fromarray(gray).save(root / f"digit{label}" / f"{number}.png")


@pytest.fixture
def small(images: Path) -> Config:
    """A settled config that trains on `images` in a second or two; with BatchNorm and dropout, so state matters."""
    from pipeline.train import settle

    values = {
        "data.dataset": "folder",
        "data.folder": str(images),
        "data.image_size": 32,
        "data.golden": 8,
        "data.calibration": 8,
        "model.name": "mobilenet_v3_small",
        "train.epochs": 3,
        "train.batch_size": 8,
        "train.seed": 7,
    }
    return settle(configs.read(None, values))
