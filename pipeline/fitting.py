"""Fits what a model of somebody else's gives to a task: the names of its outputs, and a label for each class."""

from collections.abc import Mapping, Sequence

import torch
from torch import nn
from torchvision.models.detection.mask_rcnn import MaskRCNN

from pipeline import config as configs
from pipeline import tasks
from pipeline.detectors import Detector
from records.errors import BadInput, some

CLASSES = "classification"
THINGS = (*configs.DETECTORS, "multilabel", "segmentation")
"""Tasks whose outputs have names and axes of their own."""


class Logits(nn.Module):
    """A segmentation model of torchvision's without the outputs that only training needs."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Return logits (N, K, H, W)."""
        logits: torch.Tensor = self.model(image)["out"]
        return logits


def other_task(model: nn.Module, task: str) -> str:
    """Return the task of a detector of torchvision's, if it is another one; else nothing."""
    own = "instances" if isinstance(model, MaskRCNN) else "detection"
    return own if own != task else ""


def labels_of_things(
    task: str, model: nn.Module, outputs: Mapping[str, torch.Tensor], labels: Sequence[str]
) -> tuple[str, ...]:
    """Return a label for each class of a detector or a segmentation model; none, of another task. Raises BadInput."""
    if task not in THINGS:
        return ()
    expected = tasks.load(task).OUTPUTS
    if unlike := [name for name, axes in expected.items() if name not in outputs or outputs[name].ndim != len(axes)]:
        told = ", ".join(f"{name} {tuple(value.shape)}" for name, value in outputs.items())
        wanted = ", ".join(f"{name} of {len(axes)} axes" for name, axes in expected.items())
        raise BadInput(
            f"task {task}: no output {unlike[0]} as it should be among {told}; {wanted} are needed. Return those, name "
            "them with --outputs, or leave --task out to compare numbers alone."
        )
    if task not in configs.DETECTORS:
        of_one = outputs["logits"].flatten(2)[..., 0] if task == "segmentation" else outputs["logits"]
        return checked_classes({"logits": of_one}, tuple(labels))
    return labelled(model, labels) if isinstance(model, Detector) else tuple(labels)


def labelled(model: Detector, labels: Sequence[str]) -> tuple[str, ...]:
    """Return a label for each class of a detector. Raises BadInput where there are others."""
    if labels and len(labels) != model.classes:
        raise BadInput(
            f"the detector knows {model.classes} classes, and there are {len(labels)} labels ({some(labels)})."
            " Give them in its order, without one for nothing: --labels FILE, one a line."
        )
    return tuple(labels) or tuple(str(number) for number in range(model.classes))


def classifies(outputs: Mapping[str, torch.Tensor], labels: Sequence[str]) -> bool:
    """True if there is an output (N, K) with a score for each label."""
    return any(value.ndim == 2 and value.shape[1] == len(labels) for value in outputs.values())


def renamed(names: Sequence[str], task: str, wanted: Sequence[str]) -> list[str]:
    """Return the outputs' names as the user wants them; the only output of a classifier is called logits."""
    if wanted:
        if len(wanted) != len(names) or len(set(wanted)) != len(wanted):
            raise BadInput(
                f"--outputs {','.join(wanted)}: the model gives {len(names)} ({', '.join(names)}). Name each."
            )
        return list(wanted)
    if task in {CLASSES, "multilabel", "segmentation"} and "logits" not in names and len(names) == 1:
        return ["logits"]
    if task in THINGS and all(name.startswith("output_") for name in names):  # a tuple's
        known = list(tasks.load(task).OUTPUTS)
        return known if len(known) == len(names) else list(names)
    return list(names)


def checked_classes(outputs: Mapping[str, torch.Tensor], labels: tuple[str, ...]) -> tuple[str, ...]:
    """Return a label for each class. Raises BadInput where there are others, or no logits."""
    logits = outputs.get("logits")
    if logits is None or logits.ndim != 2:
        told = ", ".join(f"{name} {tuple(value.shape)}" for name, value in outputs.items())
        raise BadInput(
            f"task classification: no output logits (N, K) among {told}. Name it: --outputs logits,…, or leave --task "
            "out."
        )
    count = logits.shape[1]
    if not labels:
        return tuple(str(number) for number in range(count))
    if len(labels) != count:
        raise BadInput(
            f"the model decides among {count} classes, and there are {len(labels)} labels ({', '.join(labels[:5])}…). "
            "Give them in the model's order: --labels FILE, one a line."
        )
    return labels
