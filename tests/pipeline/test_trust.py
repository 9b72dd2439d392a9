"""Code that a run from elsewhere names is not run unasked; one's own training goes on without a question."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

import pipeline.train
from pipeline import config as configs
from pipeline import trust
from pipeline.config import Config
from pipeline.train import Interrupted, settle, train
from records.errors import BadInput
from tests.conftest import Said
from tests.fuzz import stopping

EVIL = """
from pathlib import Path
from pipeline.models import SimpleCNN
Path("evil-was-here").touch()
def build(num_classes, image_size=(28, 28)):
    return SimpleCNN(num_classes)
"""


@pytest.fixture
def stopped(tmp_path: Path, images: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with `runs/theirs`, whose training of a module beside it somebody has stopped."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ANYWHERE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(pipeline.train, "stop_on_signal", stopping)
    (tmp_path / "evil.py").write_text(EVIL)
    values = {
        "data.dataset": "folder", "data.folder": str(images), "data.image_size": 28, "data.golden": 8,
        "data.calibration": 8, "model.name": "./evil.py:build", "train.epochs": 2, "train.batch_size": 8,
    }  # fmt: skip
    with pytest.raises(Interrupted):
        train(settle(configs.read(None, values)), Path("runs/theirs"), None, Console(quiet=True))
    Path("evil-was-here").unlink()
    return tmp_path


def test_a_run_from_elsewhere_runs_no_module_unasked(stopped: Path, command: Callable[..., Said]) -> None:
    resume = ("train", "--resume", "--run", "theirs")
    said = command(*resume)
    assert (said.status, said.err.count("\n"), Path("evil-was-here").exists()) == (2, 1, False)
    assert "run theirs: its configuration names ./evil.py (model ./evil.py:build)" in said.err
    assert "anywhere train --resume --trust --run theirs." in said.err
    again = command("train", "--run", "mine", "--config", "runs/theirs/checkpoint/config.toml")
    assert (again.status, Path("evil-was-here").exists()) == (2, False)
    assert "--trust" in again.err
    trusted = command(*resume, "--trust")
    assert (trusted.status, Path("evil-was-here").exists()) == (130, True), trusted.err


def test_ones_own_training_goes_on_without_a_question(stopped: Path, command: Callable[..., Said]) -> None:
    shutil.move("runs/theirs/checkpoint/config.toml", "mine.toml")
    assert command("train", "--run", "mine", "--config", "mine.toml").status == 130
    Path("evil-was-here").unlink()
    assert command("train", "--resume", "--run", "mine").status == 130
    assert Path("evil-was-here").exists()


def test_in_another_folder_it_is_no_longer_ones_own(stopped: Path, command: Callable[..., Said]) -> None:
    shutil.move("runs/theirs/checkpoint/config.toml", "mine.toml")
    command("train", "--run", "mine", "--config", "mine.toml")
    shutil.move("runs/mine", "runs/other")
    assert "it was not you who started it" in command("train", "--resume", "--run", "other").err


@pytest.mark.parametrize(
    ("name", "options", "code"),
    [
        ("resnet18", {}, ""), ("simple_cnn", {}, ""), ("timm:resnet18", {}, ""), ("hf:folder", {}, ""),
        ("torch.hub:load", {}, "torch.hub"), ("os:system", {}, "os"), ("./file.py:Net", {}, "./file.py"),
        ("lightning:mine.nets:Net", {}, "mine.nets"), ("timm:resnet18", {"drop_rate": 0.1}, ""),
        ("timm:resnet18", {"checkpoint_path": "runs/x/evil.pth"}, "checkpoint_path = runs/x/evil.pth"),
    ],
)  # fmt: skip
def test_what_runs_code_is_known_by_its_spelling(name: str, options: dict[str, str | float], code: str) -> None:
    config = Config().with_values("model", name=name, options=options)
    assert trust.code_of(config) == code
    if code:
        with pytest.raises(BadInput, match=r"names .* If you trust whoever made it: anywhere train"):
            trust.check(config, Path("runs/theirs"), False, "anywhere train --resume --trust")
        trust.check(config, Path("runs/theirs"), True, "anywhere train --resume --trust")


def test_a_cache_that_cannot_be_written_to_is_no_reason_not_to_train(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("ANYWHERE_CACHE", str(tmp_path / "file"))
    config = Config().with_values("model", name="mine:Net")
    trust.remember(config, tmp_path)
    with pytest.raises(BadInput):
        trust.check(config, tmp_path, False, "")
