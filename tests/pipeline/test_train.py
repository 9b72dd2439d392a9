"""The same weights from the same seed, interrupted or not; and a stop that loses nothing."""

import io
import math
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from pipeline.checkpoint import Checkpoint
from pipeline.config import Config, to_toml
from pipeline.golden import to_numpy
from pipeline.progress import Display
from pipeline.tasks import Tensors
from pipeline.train import Interrupted, learning_rate, train
from records.errors import BadInput

QUIET = Console(quiet=True)


def weights(checkpoint: Checkpoint) -> str:
    return checkpoint.files["weights.safetensors"]


def interrupt_at(monkeypatch: pytest.MonkeyPatch, epoch: int, step: int) -> None:
    """Ctrl-C arrives in the middle of a step."""
    original = Display.step

    def pressed(self: Display, now_epoch: int, now_step: int, *rest: float) -> None:
        original(self, now_epoch, now_step, *rest)
        if (now_epoch, now_step) == (epoch, step):
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(Display, "step", pressed)


@pytest.mark.slow
def test_one_seed_gives_the_same_weights_and_another_seed_others(small: Config, tmp_path: Path) -> None:
    small = small.with_values("train", epochs=1)
    first, again = (train(small, tmp_path / name, None, QUIET) for name in ("a", "b"))
    other = train(small.with_values("train", seed=8), tmp_path / "c", None, QUIET)
    assert weights(first) == weights(again)
    assert weights(first) != weights(other)
    for name in ("golden.safetensors", "probes.safetensors"):
        assert first.files[name] == again.files[name]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("epoch", "step"), [(1, 2), *(pytest.param(*place, marks=pytest.mark.nightly) for place in ((1, 5), (0, 0)))]
)
def test_a_resumed_training_ends_with_the_weights_of_an_uninterrupted_one(
    small: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, epoch: int, step: int
) -> None:
    whole = train(small, tmp_path / "whole", None, QUIET)
    with monkeypatch.context() as patched:
        interrupt_at(patched, epoch, step)
        with pytest.raises(Interrupted, match=f"epoch {epoch + 1} after step {step + 1}"):
            train(small, tmp_path / "cut", None, QUIET)
    torch.manual_seed(999)  # whatever happened in between
    saved = Checkpoint.open(tmp_path / "cut" / "checkpoint")
    assert not saved.finished
    resumed = train(small, tmp_path / "cut", saved, QUIET)
    assert resumed.finished
    assert weights(resumed) == weights(whole)
    assert resumed.golden().arrays().keys() == whole.golden().arrays().keys()


def test_the_checkpoint_of_an_unfinished_training_is_whole(
    small: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupt_at(monkeypatch, 0, 3)
    with pytest.raises(Interrupted):
        train(small, tmp_path / "cut", None, QUIET)
    saved = Checkpoint.open(tmp_path / "cut" / "checkpoint")
    assert saved.progress == {"epoch": 0, "step": 4, "epochs": 3, "finished": False}
    assert saved.golden().outputs["logits"].shape == (4, 3)


def test_a_loss_that_is_no_number_stops_and_keeps_the_last_good_checkpoint(
    small: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pipeline.tasks import classification

    original, calls = classification.step, 0

    def breaking(*arguments: Any) -> tuple[torch.Tensor, Tensors]:
        nonlocal calls
        calls += 1
        loss, outputs = original(*arguments)
        return loss * math.nan if calls == 10 else loss, outputs  # the first is the rehearsal's

    monkeypatch.setattr(classification, "step", breaking)
    with pytest.raises(BadInput, match=r"the loss is nan in epoch 2 at step 3.*after epoch 1 is kept.*learning_rate"):
        train(small, tmp_path / "run", None, QUIET)
    assert Checkpoint.open(tmp_path / "run" / "checkpoint").progress["epoch"] == 1


def test_outputs_without_signal_are_refused(small: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "dead_model.py").write_text(
        "import torch\n"
        "class Dead(torch.nn.Module):\n"
        "    def __init__(self, num_classes):\n"
        "        super().__init__()\n"
        "        self.bias = torch.nn.Parameter(torch.zeros(num_classes))\n"
        "    def forward(self, x):\n"
        "        return self.bias.expand(len(x), -1)\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(BadInput, match="the same for all 4 inputs"):
        train(small.with_values("model", name="dead_model:Dead"), tmp_path / "run", None, QUIET)


@pytest.mark.slow
def test_tensorboard_gets_scalars_images_and_the_confusion_matrix(small: Config, tmp_path: Path) -> None:
    train(small.with_values("train", epochs=1), tmp_path / "run", None, QUIET)
    events = EventAccumulator(str(tmp_path / "run" / "tensorboard"))
    events.Reload()
    assert {"train/loss", "train/rate", "train/gradient", "test/score"} <= set(events.Tags()["scalars"])
    assert set(events.Tags()["images"]) == {"train/batch", "test/confusion"}


@pytest.mark.slow
def test_plain_lines_where_there_is_no_terminal(
    small: Config, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train(small.with_values("train", epochs=2), tmp_path / "run", None, Console())
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    assert all(word in lines[1] for word in ("epoch   2/2", "loss", "accuracy train", "test", "images/s", "s left"))


@pytest.mark.slow
def test_a_terminal_shows_where_training_is(small: Config, tmp_path: Path) -> None:
    screen_file = io.StringIO()
    train(
        small.with_values("train", epochs=1),
        tmp_path / "run",
        None,
        Console(force_terminal=True, width=120, file=screen_file),
    )
    screen = screen_file.getvalue()
    for shown in ("epoch 1/1 step 6/6", "loss", "accuracy", "images/s", "left"):
        assert shown in screen


def test_the_rate_rises_then_falls_to_zero() -> None:
    rates = [learning_rate(step, 100, 0.2, 1.0) for step in range(100)]
    assert rates[0] == pytest.approx(0.01)
    assert max(rates) == rates[20] == pytest.approx(1.0)
    assert rates[19] < rates[20] > rates[21]
    assert rates[-1] < 0.001


def test_an_unknown_device_is_refused(small: Config, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"train\.device nonsense"):
        train(small.with_values("train", device="nonsense"), tmp_path / "run", None, QUIET)


@pytest.mark.slow
@pytest.mark.parametrize("options", [{"channels_last": False}, {"ema": 0.0}, {"amp": True}])
def test_options_train_as_well(small: Config, tmp_path: Path, options: dict[str, Any]) -> None:
    settled = small.with_values("train", epochs=1, **options)
    assert train(settled, tmp_path / "run", None, QUIET).finished


@pytest.mark.nightly  # half a minute of compiling
def test_a_compiled_training_ends_in_an_ordinary_checkpoint(small: Config, tmp_path: Path) -> None:
    small = small.with_values("model", name="simple_cnn")
    settled = small.with_values("train", epochs=1, compile=True)
    plain = train(small.with_values("train", epochs=1), tmp_path / "plain", None, QUIET)
    compiled = train(settled, tmp_path / "compiled", None, QUIET)
    assert compiled.model().state_dict().keys() == plain.model().state_dict().keys()
    assert compiled.metrics["train_loss"] == pytest.approx(plain.metrics["train_loss"], rel=0.02)


@pytest.mark.nightly
def test_killed_or_stopped_the_command_goes_on_to_the_same_weights(small: Config, tmp_path: Path) -> None:
    """The real command, SIGKILL after an epoch and Ctrl-C in another process, as a user's machine does it."""
    # 60 images are over before a signal arrives; with a batch of 2 an epoch takes long enough to be hit.
    small = small.with_values("train", epochs=4, batch_size=2)
    (tmp_path / "my.toml").write_text(to_toml(small))

    def start(*options: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [sys.executable, "-m", "anywhere", "train", *options],
            cwd=tmp_path, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip

    def saved(run: str) -> Checkpoint:
        return Checkpoint.open(tmp_path / "runs" / run / "checkpoint")

    def wait_for(run: str, epoch: int, training: "subprocess.Popen[str]") -> None:
        record = tmp_path / "runs" / run / "checkpoint" / "checkpoint.json"
        while not (record.exists() and f'"epoch": {epoch}' in record.read_text()):
            assert training.poll() is None, "it ended before"
            time.sleep(0.01)

    whole = start("--config", "my.toml", "--run", "whole")
    said, _ = whole.communicate()
    assert whole.returncode == 0, said
    cut = start("--config", "my.toml", "--run", "cut")
    wait_for("cut", 1, cut)
    cut.send_signal(signal.SIGKILL)
    cut.communicate()
    assert not saved("cut").finished
    resumed = start("--resume", "--run", "cut")
    wait_for("cut", 2, resumed)
    resumed.send_signal(signal.SIGINT)
    text, _ = resumed.communicate()
    assert resumed.returncode == 130
    assert "Go on with: anywhere train --resume --run cut" in text
    again = start("--resume", "--run", "cut")
    said, _ = again.communicate()
    assert again.returncode == 0, said
    assert weights(saved("cut")) == weights(saved("whole"))


def test_outputs_in_bfloat16_are_scored_as_float32() -> None:
    """As torch.autocast gives them on a GPU; numpy has no such type."""
    assert to_numpy({"logits": torch.tensor([1.5], dtype=torch.bfloat16)})["logits"].dtype == np.float32
