"""A detector and a segmentation model that are altered before they are converted: see `tests/mutants/finding.py`."""

import dataclasses
import importlib.util
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch import nn
from torch.export import ExportedProgram
from torch.nn import functional

from export.graphs import onnx_exporter, onnx_metadata
from export.targets import onnx, torchscript
from pipeline import detectors, program
from pipeline.checkpoint import Checkpoint
from pipeline.detectors import Decoding, anchors, suppression
from pipeline.models import Normalised

TOOLCHAIN = "torch"
Outputs = tuple[torch.Tensor, ...]


def _beside(name: str) -> Any:
    """Return a module of the folder above: a worker finds the project's rooms, and tests are none."""
    spec = importlib.util.spec_from_file_location(name, Path(__file__).parents[1] / f"{name}.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


finders = _beside("finders")


class After(nn.Module):
    """A network, and what is made of its outputs."""

    def __init__(self, inside: nn.Module, change: Callable[..., Any]):
        super().__init__()
        self.inside, self.change = inside, change

    def forward(self, image: torch.Tensor) -> Any:
        """(N, 3, H, W) → what the network gives, changed."""
        given = self.inside(image)
        return self.change(*given) if isinstance(given, tuple) else self.change(given)


class Turned(nn.Module):
    """A network that is given blue, green and red."""

    def __init__(self, inside: nn.Module):
        super().__init__()
        self.inside = inside

    def forward(self, image: torch.Tensor) -> Any:
        """(N, 3, H, W) → what the network gives."""
        return self.inside(image.flip(1))


class Scored(nn.Module):
    """Candidates of an SSD with scores of another kind."""

    def __init__(self, inside: Any, scores: Callable[[torch.Tensor], torch.Tensor]):
        super().__init__()
        self.inside, self.scores = inside, scores

    def forward(self, model: Any, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Boxes (N, A, 4) and scores (N, A, C)."""
        boxes, _ = self.inside(model, image)
        return boxes, self.scores(model.head(list(model.backbone(image).values()))["cls_logits"])


def convert(alteration: str, task: str, checkpoint: str, target: str, out: str) -> None:
    """Write the file of `onnx` or `torchscript` into the folder `out`, as its conversion does."""
    faithful = Checkpoint.program
    whole = built(task, Checkpoint.open(Path(checkpoint)))

    def altered(self: Checkpoint) -> ExportedProgram:
        with OUTSIDE.get(alteration, nullcontext)():
            changed = ALTERATIONS[task].get(alteration, lambda module: module)(whole).eval()
            return program.capture(changed, self.example(), [{0: "batch"}])

    Checkpoint.program = altered
    try:
        opened = Checkpoint.open(Path(checkpoint))
        if target == "onnx":
            onnx_exporter.export(opened, Path(out) / onnx.ENTRY)
            onnx_metadata.finish(Path(out) / onnx.ENTRY, opened, "float32")
        else:
            torchscript.convert(Path(checkpoint), Path(checkpoint), "float32", Path(out))
    finally:
        Checkpoint.program = faithful


def built(task: str, opened: Checkpoint) -> nn.Module:
    """The module that was adopted; its outputs for a golden sample are golden's."""
    model: Any = finders.MADE[task]()
    if task == "detection":
        size = (finders.SIDE, finders.SIDE)
        whole: nn.Module = detectors.detector(model, size, Decoding(**opened.decoding), finders.MEAN, finders.DEVIATION)
    else:
        whole = Normalised(model, finders.MEAN, finders.DEVIATION)
    return whole.eval()


def _across(boxes: torch.Tensor, scores: torch.Tensor, labels: torch.Tensor, *rest: Any) -> torch.Tensor:
    return suppression.survivors(boxes, scores, torch.zeros_like(labels), *rest)


OUTSIDE: dict[str, Callable[[], Any]] = {
    "suppression across classes": lambda: mock.patch.object(detectors, "survivors", _across),
    "boxes that leave the picture": lambda: mock.patch.object(anchors, "within", lambda boxes, size: boxes),
}
"""Alteration → where it is a function that is another one."""


def _decoding(**values: float) -> Callable[[Any], nn.Module]:
    """By other thresholds."""

    def change(whole: Any) -> nn.Module:
        whole.decode = detectors.Decode(dataclasses.replace(whole.decoding, **values))
        return whole

    return change


def _boxes(change: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[nn.Module], nn.Module]:
    return lambda whole: After(whole, lambda boxes, scores, labels, count: (change(boxes), scores, labels, count))


def _labels(change: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[nn.Module], nn.Module]:
    return lambda whole: After(whole, lambda boxes, scores, labels, count: (boxes, scores, change(labels), count))


def _scores(scores: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[Any], nn.Module]:
    def change(whole: Any) -> nn.Module:
        whole.proposals = Scored(whole.proposals, scores)
        return whole

    return change


def _counted(count: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]) -> Callable[[nn.Module], nn.Module]:
    return lambda whole: After(whole, lambda boxes, scores, labels, old: (boxes, scores, labels, count(scores, old)))


def _half(boxes: torch.Tensor, scores: torch.Tensor, labels: torch.Tensor, count: torch.Tensor) -> Outputs:
    """Nothing in the second half of the places."""
    room = scores.shape[1] // 2
    there = torch.arange(scores.shape[1]) < room
    return boxes * there[:, None], scores * there, labels * there.to(labels), count.clamp(max=room)


def _corner_and_size(boxes: torch.Tensor) -> torch.Tensor:
    return torch.cat([boxes[..., :2], boxes[..., 2:] - boxes[..., :2]], -1)


def _centre_and_size(boxes: torch.Tensor) -> torch.Tensor:
    return torch.cat([(boxes[..., :2] + boxes[..., 2:]) / 2, boxes[..., 2:] - boxes[..., :2]], -1)


def _anchors(change: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[Any], nn.Module]:
    def changed(whole: Any) -> nn.Module:
        whole.proposals.anchors = change(whole.proposals.anchors)
        return whole

    return changed


def _larger(corners: torch.Tensor) -> torch.Tensor:
    middle = (corners[:, :2] + corners[:, 2:]).repeat(1, 2) / 2
    return middle + 1.1 * (corners - middle)


def _coder(whole: Any) -> Any:
    whole.proposals.coder.weights = (10.0, 10.0, 10.0, 10.0)
    return whole


def _mean(whole: Any) -> Any:
    whole.mean.fill_(0.5)
    whole.deviation.fill_(0.5)
    return whole


def _resized(resized: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[Any], nn.Module]:
    def change(whole: Any) -> nn.Module:
        whole.model.resized = resized
        return whole

    return change


def _before_resizing(coarse: torch.Tensor) -> torch.Tensor:
    decided = functional.one_hot(coarse.argmax(1), coarse.shape[1]).permute(0, 3, 1, 2).to(coarse)
    return functional.interpolate(decided, scale_factor=4.0, mode="nearest")


def _lost(logits: torch.Tensor) -> torch.Tensor:
    return logits - 100.0 * (torch.arange(logits.shape[1]) == 2)[:, None, None]


def _after(change: Callable[..., Any]) -> Callable[[nn.Module], nn.Module]:
    return lambda whole: After(whole, change)


ALTERATIONS: dict[str, dict[str, Callable[[Any], nn.Module]]] = {
    "detection": {
        "boxes as corner and size": _boxes(_corner_and_size),
        "boxes as centre and size": _boxes(_centre_and_size),
        "boxes from 0 to 1": _boxes(lambda boxes: boxes / finders.SIDE),
        "x and y swapped": _boxes(lambda boxes: torch.stack([boxes[..., place] for place in (1, 0, 3, 2)], -1)),
        "boxes half a pixel off": _boxes(lambda boxes: boxes + 0.5),
        "labels one too great": _labels(lambda labels: labels + 1),
        "two classes swapped": _labels(lambda labels: torch.where(labels % 3 == 0, labels, 3 - labels)),
        "the background is a class": _scores(lambda logits: logits.softmax(-1)),
        "a softmax over things alone": _scores(lambda logits: logits[..., 1:].softmax(-1)),
        "a sigmoid for the softmax": _scores(lambda logits: logits[..., 1:].sigmoid()),
        "no suppression": _decoding(iou=2.0),
        "suppressed from 0.5, not 0.55": _decoding(iou=0.5),
        "a higher threshold of scores": _decoding(score=0.8),
        "room for half as many boxes": _after(_half),
        "one box more than there is": _counted(lambda scores, count: count + 1),
        "as many boxes as there is room for": _counted(lambda scores, count: count * 0 + scores.shape[1]),
        "anchors a tenth larger": _anchors(_larger),
        "anchors of the other order": _anchors(lambda corners: corners.flip(0)),
        "sizes coded by another scale": _coder,
        "another mean": _mean,
        "BGR for RGB": Turned,
    },
    "segmentation": {
        "a mask half a pixel off": _after(lambda logits: (logits + logits.roll(1, -1)) / 2),
        "decided before it is resized": _resized(_before_resizing),
        "corners aligned": _resized(
            lambda coarse: functional.interpolate(coarse, scale_factor=4.0, mode="bilinear", align_corners=True)
        ),
        "nearest pixel": _resized(lambda coarse: functional.interpolate(coarse, scale_factor=4.0, mode="nearest")),
        "one class lost": _after(_lost),
        "classes one place on": _after(lambda logits: logits.roll(1, 1)),
        "rows and columns swapped": _after(lambda logits: logits.transpose(2, 3)),
        "a softmax at the end": _after(lambda logits: logits.softmax(1)),
        "another mean": _mean,
        "BGR for RGB": Turned,
    },
}
"""Alteration of each task → the altered network."""
