"""A quantizer's model that LiteRT does not run: the sentence says where, and what to keep in float32."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from export.run import Run
from pipeline import config as configs
from pipeline.train import settle, train
from tests.conftest import Said

DIVIDING = Path(__file__).with_name("dividing.py")


@pytest.mark.nightly
def test_a_division_that_integers_make_one_by_zero_names_its_module_and_the_option_that_mends_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: Callable[..., Said]
) -> None:
    shutil.copy(DIVIDING, tmp_path)
    monkeypatch.chdir(tmp_path)
    wanted = {"model.name": "dividing:of_bright_digits", "train.epochs": 1, "data.golden": 16, "data.calibration": 32}
    train(settle(configs.read(None, wanted)), Path("runs/tiny"), None, Console(quiet=True))
    export = ("export", "tiny", "--to", "tflite", "--precision", "int8")
    said = command(*export)
    assert said.status == 1
    assert said.out.count("(DIV) failed to invoke. That operator computes light (between normalisation and ") == 2
    assert "In float32 it may do: --keep-float light." in said.out
    assert command(*export, "--keep-float", "light").status == 0
    repaired = command(*export, "--auto")
    assert repaired.status == 0
    assert "tflite/int8: light in float32, for LiteRT does not run it in integers" in repaired.out
    found = Run.open("tiny").artifact("tflite/int8").integers
    assert found is not None
    assert "light" in found.keep_float
