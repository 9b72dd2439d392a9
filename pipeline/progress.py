"""The display of a running training: a live line in a terminal, plain lines elsewhere.

with Display(console, epochs=12, steps=45) as display: display.step(0, 0, images=32, loss=2.3, score=0.1)
"""

import math
import time
from dataclasses import dataclass, field
from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn


@dataclass
class Display:
    """Epoch, step, loss, accuracy, images/s and time left. Use as a context manager around the loop."""

    console: Console
    epochs: int
    steps: int
    """Steps of one epoch."""
    done: int = 0
    """Steps that the interrupted part of the training had already done."""
    metric: str = "accuracy"
    _images: int = 0
    _since: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self._progress = Progress(
            TextColumn(
                "epoch {task.fields[epoch]}/{task.fields[epochs]} step {task.fields[step]}/{task.fields[steps]}"
            ),
            BarColumn(bar_width=20),
            TextColumn(
                "loss {task.fields[loss]:.3f} · {task.fields[metric]} {task.fields[score]:.3f} · "
                "{task.fields[speed]:.0f} images/s · left"
            ),
            TimeRemainingColumn(),
            console=self.console,
            transient=True,
            disable=not self.console.is_terminal,
        )
        first: dict[str, Any] = {
            "epoch": 1,
            "epochs": self.epochs,
            "step": 0,
            "steps": self.steps,
            "loss": 0.0,
            "speed": 0.0,
            "score": 0.0,
        }
        self._task = self._progress.add_task(
            "", total=self.epochs * self.steps, completed=self.done, metric=self.metric, **first
        )

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    @property
    def speed(self) -> float:
        """Return the images per second so far."""
        return self._images / max(time.monotonic() - self._since, 1e-9)

    def step(self, epoch: int, step: int, images: int, loss: float, score: float) -> None:
        """Show the state after a step; epoch and step count from 0. score: of the epoch's training samples so far."""
        self._images += images
        fields: dict[str, Any] = {"epoch": epoch + 1, "step": step + 1, "loss": loss, "score": score}
        self._progress.update(self._task, completed=epoch * self.steps + step + 1, speed=self.speed, **fields)

    def epoch(self, epoch: int, loss: float, train: float, test: float) -> None:
        """Print the results of an epoch on one line that stays."""
        epochs_done = epoch + 1 - self.done / self.steps
        seconds_left = (time.monotonic() - self._since) / epochs_done * (self.epochs - epoch - 1)
        self.console.print(
            f"epoch {epoch + 1:>3}/{self.epochs}  loss {loss:.4f}  "
            f"{self.metric} train {shown(train)} test {shown(test)}  "
            f"{self.speed:.0f} images/s  {seconds_left:.0f} s left",
            highlight=False,
            soft_wrap=True,
        )


def shown(score: float) -> str:
    """Return a score with four digits; "–" for NaN: there is none."""
    return "–" if math.isnan(score) else f"{score:.4f}"
