"""torchvision's detectors with outputs of fixed shapes, which every format can hold: one family, one file.

    detector = build("ssdlite320_mobilenet_v3_large", classes=10, size=(320, 320), asked=Decoding(detections=50))
    boxes, scores, labels, count = detector.eval()(image)      # (N, D, 4), (N, D), (N, D), (N,)

torchvision's own give a list of as many boxes as there are, which no exporter takes. Here the weights, the network and
the losses are torchvision's, and what follows the network is written in plain operators: the anchors are constants, the
K best of all anchors and classes are decoded and suppressed exactly, and the D best of those are given, zeros behind
`count`.
"""

import importlib
import pkgutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from typing import Any, Protocol, cast

import torch
from torch import nn
from torchvision.models.detection.image_list import ImageList

from pipeline.detectors.paste import Paste
from pipeline.detectors.suppression import ROUNDS, suppressing, survivors
from records.errors import BadInput

Tensors = dict[str, torch.Tensor]
RIVALS = 4
"""Boxes that are kept of those that one alone suppresses, the best: any of them may come in its place."""
WITHOUT_BACKGROUND = ("retinanet_resnet50_fpn", "retinanet_resnet50_fpn_v2", "fcos_resnet50_fpn")
"""Models of torchvision's whose classes are all things; of others, class 0 is what is nothing."""


@dataclass(frozen=True)
class Decoding:
    """What the boxes of a detector are chosen by; 0: as the model is used elsewhere."""

    score: float = 0.0
    """Score that a box has more than."""
    iou: float = 0.0
    """Overlap beyond which the better of two boxes of a class suppresses the other."""
    detections: int = 0
    """Boxes that are given of an image, at most: D."""
    candidates: int = 0
    """Best pairs of anchor and class that are decoded: K."""

    def filled(self, other: "Decoding") -> "Decoding":
        """Return this with another's numbers where it has none."""
        return Decoding(*(getattr(self, one.name) or getattr(other, one.name) for one in fields(self)))

    def record(self) -> dict[str, float]:
        """Return the numbers by name, as a checkpoint keeps them."""
        return asdict(self)


class Family(Protocol):
    """The interface of a family's file."""

    BACKGROUND: bool
    """True if torchvision's class 0 is what is nothing: it is left out of the labels."""
    KIND: type["Detector"]
    """What a model of it is exported as; a file without one: a `Detector`."""

    def takes(self, model: nn.Module) -> bool:
        """True if a model of torchvision's is of this family."""

    def decoding(self, model: Any) -> Decoding:
        """Return what torchvision chooses its boxes by."""

    def proposals(self, model: Any, size: tuple[int, int]) -> nn.Module:
        """Return what makes candidates of a normalised image (N, 3, H, W): boxes (N, A, 4) and scores (N, A, C)."""


class AsIs(nn.Module):
    """torchvision's transform of images, which are of one size and normalised already."""

    def forward(self, images: list[torch.Tensor], targets: Any = None) -> tuple[ImageList, Any]:
        """Return images (3, H, W) as one batch, and the targets."""
        return ImageList(torch.stack(images), [tuple(image.shape[-2:]) for image in images]), targets

    def postprocess(self, result: Any, *_: Any) -> Any:
        """Return boxes as they are: in the pixels of the input."""
        return result


class Detector(nn.Module):
    """A detector of torchvision's, as it is trained and exported: [0, 1] RGB in, boxes of fixed shapes out."""

    mean: torch.Tensor
    deviation: torch.Tensor

    def __init__(
        self,
        model: nn.Module,
        proposals: nn.Module,
        decoding: Decoding,
        classes: int,
        background: bool,
        mean: tuple[float, ...],
        deviation: tuple[float, ...],
    ):
        super().__init__()
        self.model, self.decoding, self.classes, self.background = model, decoding, classes, background
        self.proposals, self.decode, self.normalises = proposals, Decode(decoding), bool(mean)
        if mean:
            self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1))
            self.register_buffer("deviation", torch.tensor(deviation).view(1, -1, 1, 1))

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return boxes (N, D, 4), scores (N, D), labels (N, D) int32 and count (N,) int32 of images (N, 3, H, W)."""
        boxes, scores = self.proposals(self.model, self.normalised(image))
        decoded: tuple[torch.Tensor, ...] = self.decode(boxes, scores)
        return decoded

    def losses(self, image: torch.Tensor, truth: Tensors) -> Tensors:
        """Return torchvision's losses by name, for images (N, 3, H, W) and truth (N, M, …)."""
        first = 1 if self.background else 0
        targets = []
        for place, labels in enumerate(truth["labels"]):
            known = labels >= 0
            target = {name: values[place][known] for name, values in truth.items()}
            targets.append({**target, "labels": target["labels"] + first})
        losses: Tensors = self.model(list(self.normalised(image)), targets)
        return losses

    def normalised(self, image: torch.Tensor) -> torch.Tensor:
        """Return images less mean, by deviation; as they are, where somebody else does that."""
        return (image - self.mean) / self.deviation if self.normalises else image


class Decode(nn.Module):
    """Chooses D boxes of all candidates."""

    before: torch.Tensor

    def __init__(self, decoding: Decoding):
        super().__init__()
        self.decoding = decoding
        place = torch.arange(decoding.candidates)
        self.register_buffer("before", (place[None] < place[:, None]).float()[None], persistent=False)

    def forward(
        self, boxes: torch.Tensor, scores: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return boxes (N, D, 4), scores (N, D), labels (N, D) int32 and count (N,) int32.

        boxes: (N, A, 4), or (N, A, C, 4) where each class has its own; scores: (N, A, C) in [0, 1].
        """
        chosen, best, label = self._candidates(boxes, scores)
        kept = survivors(chosen, best, label, self.decoding.score, self.decoding.iou, self.before, ROUNDS)
        ranked, order = (best * kept).topk(self.decoding.detections)  # (N, D)
        there = ranked > 0
        count = there.to(torch.int32).sum(dim=1, dtype=torch.int32)
        found = torch.where(there[..., None], rows(chosen, order), 0.0)
        return found, ranked, torch.where(there, label.gather(1, order), 0).to(torch.int32), count

    def rivals(self, boxes: torch.Tensor, scores: torch.Tensor) -> Tensors:
        """Return what rounding may give in the place of each box that `forward` gives of the same candidates.

        boxes (N, D, R, 4) and scores (N, D, R): the R best that this box alone suppresses, zeros where there are none;
        least (N,): the score of the last candidate.
        """
        chosen, best, label = self._candidates(boxes, scores)
        kept = survivors(chosen, best, label, self.decoding.score, self.decoding.iou, self.before, ROUNDS)
        _, order = (best * kept).topk(self.decoding.detections)  # (N, D)
        hits = suppressing(chosen, label, self.decoding.iou, self.before) * kept[:, None]  # (N, K, K): by whom each is
        alone = hits * (hits.sum(2, keepdim=True) == 1) * (best > self.decoding.score)[..., None]
        by_box = (
            rows(alone.transpose(1, 2), order) * best[:, None]
        )  # (N, D, K): the scores of those that each suppresses
        ranked, place = by_box.topk(min(RIVALS, by_box.shape[2]))  # (N, D, R)
        found = rows(chosen, place.flatten(1)).unflatten(1, place.shape[1:])
        return {"boxes": found * (ranked > 0)[..., None], "scores": ranked, "least": best[:, -1]}

    def _candidates(self, boxes: torch.Tensor, scores: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return boxes (N, K, 4), scores (N, K) and labels (N, K) int64 of the K best pairs of box and class."""
        classes = scores.shape[2]
        best, place = scores.flatten(1).topk(self.decoding.candidates)
        label = place % classes
        if boxes.ndim == 3:
            place = torch.div(place, classes, rounding_mode="floor")
        return rows(boxes.flatten(1, -2), place), best, label


@contextmanager
def rivals_of(model: nn.Module) -> Iterator[list[Tensors]]:
    """Give a list to which each call in the context adds the rivals (see `Decode.rivals`) of a detector in a model.

    Where the model puts masks into pictures, they have masks (N, D, M, M), too, as they are before that: which pixels
    a mask ends with is rounding's. Of a model that has no rivals the list stays empty.
    """
    found: list[Tensors] = []

    def told(decode: Any, candidates: tuple[torch.Tensor, ...]) -> None:
        found.append(decode.rivals(*candidates))

    def pasted(_: nn.Module, given: tuple[torch.Tensor, ...]) -> None:
        found[-1]["masks"] = given[0].unflatten(0, found[-1]["scores"].shape[:2])

    hooks = [
        module.register_forward_pre_hook(told if isinstance(module, Decode) else pasted)
        for module in model.modules()
        if isinstance(module, (Decode, Paste))
    ]
    try:
        yield found
    finally:
        for hook in hooks:
            hook.remove()


def joined(calls: list[Tensors]) -> Tensors:
    """Return the rivals of several calls (N, …) as one by name; of none, nothing."""
    return {name: torch.cat([call[name] for call in calls]) for name in calls[0]} if calls else {}


def rows(values: torch.Tensor, place: torch.Tensor) -> torch.Tensor:
    """Return rows (N, K, X) of values (N, A, X) at places (N, K)."""
    return values.gather(1, place[..., None].expand(-1, -1, values.shape[2]))


def names() -> list[str]:
    """Return the names of all families."""
    return sorted(one.name for one in pkgutil.iter_modules(__path__) if hasattr(_module(one.name), "takes"))


def _module(name: str) -> Any:
    return importlib.import_module(f"pipeline.detectors.{name}")


def family_of(model: nn.Module) -> Family | None:
    """Return the family of a model; None: it is no detector that is known here."""
    return next((cast(Family, _module(name)) for name in names() if _module(name).takes(model)), None)


def detector(
    model: nn.Module,
    size: tuple[int, int],
    asked: Decoding,
    mean: tuple[float, ...] = (0.5, 0.5, 0.5),
    deviation: tuple[float, ...] = (0.5, 0.5, 0.5),
) -> Detector:
    """Return a model of torchvision's with outputs of fixed shapes. Raises BadInput for what is no such detector.

    mean, deviation: of R, G and B in [0, 1], that it applies; empty: it takes images that are normalised.
    """
    family = family_of(model)
    if family is None:
        raise BadInput(
            f"{type(model).__name__}: no detector that is known; {', '.join(names())} of torchvision are. Return "
            "boxes, scores, labels and count of fixed shapes, or adopt it with --task none."
        )
    decoding = asked.filled(family.decoding(model))
    cast(Any, model).transform = AsIs()
    proposals = family.proposals(model, size)
    with torch.no_grad():
        mode = model.training
        _, scores = proposals(model.eval(), torch.zeros(1, 3, *size))
        model.train(mode)
    candidates = min(decoding.candidates, scores[0].numel())
    decoding = Decoding(decoding.score, decoding.iou, min(decoding.detections, candidates), candidates)
    kind = getattr(family, "KIND", Detector)
    return kind(model, proposals, decoding, scores.shape[2], family.BACKGROUND, mean, deviation)
