"""Writes a training to TensorBoard: scalars, a batch of images, the confusion matrix. `tensorboard --logdir runs`"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch.utils.tensorboard import SummaryWriter
from torchvision.transforms.v2 import functional
from torchvision.utils import make_grid

from measures.distance import counted
from measures.tasks import Task
from pipeline.data import Data
from records.tensor import Array, Arrays

CELL = 28
"""Width and height of a cell of the confusion matrix, in pixels."""
DRAWN = 12
"""Test samples whose decisions are drawn, the first ones."""
WRITTEN = 40
"""Number of classes up to which the counts are written into the cells."""


class Board:
    """A writer to `folder`. With `step`, what an interrupted training wrote after that step is hidden."""

    def __init__(self, folder: Path, step: int):
        self._writer = SummaryWriter(str(folder), purge_step=step or None, max_queue=100, flush_secs=10)

    def scalars(self, step: int, **values: float) -> None:
        """Write numbers by name, such as `train_loss`; TensorBoard groups them by the first word."""
        for name, value in values.items():
            self._writer.add_scalar(name.replace("_", "/", 1), value, step)

    def images(self, step: int, batch: torch.Tensor) -> None:
        """Write the first 32 of (N, 3, H, W) in [0, 1], as the model is trained on them."""
        self._writer.add_image("train/batch", make_grid(batch[:32].cpu(), nrow=8), step)

    def tested(self, step: int, task: Task, images: Data, outputs: Arrays, truth: Arrays) -> None:
        """Write what is decided on the test split: as a confusion, where each decision has its place, and drawn."""
        decided, right = task.decide(outputs), task.labelled(truth)
        if task.IN_PLACE and decided.size:
            known = np.isin(right, np.arange(len(images.labels)))
            self.confusion(step, decided[known], right[known], task.names(images.labels))
        if decided.ndim == 1:
            return
        drawn = []
        for place in range(min(DRAWN, len(decided))):
            pixels = (images.test[place][0].permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)
            sample = {name: values[place] for name, values in outputs.items()}
            drawn.append(torch.from_numpy(task.draw(pixels, sample, images.labels).copy()).permute(2, 0, 1))
        self._writer.add_image("test/decisions", make_grid(torch.stack(drawn), nrow=4), step)

    def confusion(self, step: int, actual: Array, labelled: Array, names: Mapping[int, str]) -> None:
        """Write decisions (N, …) as a picture: a row for each that is right, a column for each that was made.

        names: by decision.
        """
        place = {decision: row for row, decision in enumerate(sorted(names, key=lambda value: value % len(names)))}
        counts = np.zeros((len(place), len(place)), np.int64)
        for (right, made), count in counted(labelled, actual).items():
            counts[place[right], place[made]] += count
        self._writer.add_image("test/confusion", confusion_picture(counts, [names[value] for value in place]), step)

    def close(self) -> None:
        """Write what is still buffered."""
        self._writer.close()


def confusion_picture(counts: Array, names: Sequence[str]) -> torch.Tensor:
    """Return counts (K, K) as (3, H, W) uint8: darker is a greater share of the row."""
    classes = len(counts)
    share = counts / counts.sum(axis=1, keepdims=True).clip(min=1)
    cell = CELL if classes <= WRITTEN else 4
    margin = 12 + max(6 * len(name[:16]) for name in names) if classes <= WRITTEN else 0
    picture = Image.new("RGB", (margin + classes * cell, 16 + classes * cell if margin else classes * cell), "white")
    draw = ImageDraw.Draw(picture)
    top = picture.height - classes * cell
    for row in range(classes):
        for column in range(classes):
            value = float(share[row, column])
            left, upper = margin + column * cell, top + row * cell
            draw.rectangle(
                (left, upper, left + cell - 1, upper + cell - 1),
                fill=(int(255 * (1 - value)), int(255 * (1 - 0.7 * value)), 255 - int(90 * value)),
            )
            if margin and counts[row, column]:
                draw.text(
                    (left + 4, upper + 8), str(int(counts[row, column])), fill="white" if value > 0.5 else "black"
                )
        if margin:
            draw.text((4, top + row * cell + 8), names[row][:16], fill="black")
            draw.text((margin + row * cell + 4, 2), names[row][:4], fill="black")
    return cast(torch.Tensor, functional.pil_to_tensor(picture))
