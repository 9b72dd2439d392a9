"""Detectors give what torchvision's own give, in outputs of fixed shapes."""

import itertools
import re
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image
from torch import nn
from torchvision.models.detection import ssdlite320_mobilenet_v3_large
from torchvision.models.detection.roi_heads import paste_masks_in_image

import anywhere
from measures.tasks import instances
from pipeline.detectors import Decode, Decoding, Detector, detector, family_of, names, rivals_of
from pipeline.detectors.suppression import ROUNDS, survivors, unsettled
from records.errors import BadInput

SIZE = (128, 160)
SIZES = {"ssd300_vgg16": (300, 300)}
"""Of models that take no smaller pictures."""
CLASSES = 4
ASKED = Decoding(score=0.05, iou=0.5, detections=20, candidates=300)
MODELS = (
    "ssdlite320_mobilenet_v3_large",
    "ssd300_vgg16",
    "retinanet_resnet50_fpn_v2",
    "fcos_resnet50_fpn",
    "fasterrcnn_mobilenet_v3_large_320_fpn",
    "maskrcnn_resnet50_fpn",
    "maskrcnn_resnet50_fpn_v2",
)
LONG = ("ssd300_vgg16", "maskrcnn_resnet50_fpn_v2")
"""Of those, what takes a quarter of a minute and more, and has a smaller one beside it."""
EACH = [pytest.param(name, marks=[pytest.mark.nightly] * (name in LONG)) for name in MODELS]


def images(count: int = 3, size: tuple[int, int] = SIZE) -> torch.Tensor:
    """Smooth colours with edges, on which an untrained network's scores differ."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(count, 3, 8, 10, generator=generator)
    return nn.functional.interpolate(coarse, size, mode="nearest")


def made(name: str) -> Any:
    """One of torchvision's detectors with random weights, whose scores spread."""
    torch.manual_seed(0)
    model = torchvision.models.get_model(name, weights=None, weights_backbone=None, num_classes=CLASSES)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.reset_running_stats()
            module.momentum = None
    model.train()
    with torch.no_grad():
        getattr(model, "backbone")(images(8, SIZES.get(name, SIZE)) * 2 - 1)  # noqa: B009  # of any torchvision detector
    model.eval()
    heads = [module for module in model.modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    for head in heads[-40:]:
        shape = head.weight.shape
        if shape[0] in {CLASSES, 6 * CLASSES, 4 * CLASSES, 9 * CLASSES, 3}:
            nn.init.normal_(head.weight, std=0.3 if shape[0] == 3 else 0.1)
            if head.bias is not None:
                nn.init.zeros_(head.bias)
    return model


def theirs(model: Any, detectors: Detector, batch: torch.Tensor) -> list[dict[str, torch.Tensor]]:
    """What torchvision itself finds, by the same thresholds."""
    heads = getattr(model, "roi_heads", model)
    heads.score_thresh, heads.nms_thresh = detectors.decoding.score, detectors.decoding.iou
    heads.detections_per_img = detectors.decoding.detections
    with torch.no_grad():
        found: list[dict[str, torch.Tensor]] = model(list((batch - 0.5) / 0.5))
    return found


@pytest.mark.slow
@pytest.mark.parametrize("name", EACH)
def test_what_is_found_is_what_torchvision_finds(name: str) -> None:
    model, size = made(name), SIZES.get(name, SIZE)
    ours = detector(model, size, ASKED).eval()
    batch = images(3, size)
    with torch.no_grad(), rivals_of(ours) as calls:
        boxes, scores, labels, count, *masks = ours(batch)
    assert ("masks" in calls[0]) == bool(masks)
    reference = theirs(model, ours, batch)
    assert sum(len(each["scores"]) for each in reference) > 10
    first = 1 if ours.background else 0
    for place, each in enumerate(reference):
        number = len(each["scores"])
        assert int(count[place]) == number
        assert (scores[place, :number] - each["scores"]).abs().max() < 1e-5
        assert torch.equal(labels[place, :number].long() + first, each["labels"])
        assert (boxes[place, :number] - each["boxes"]).abs().max() < 1e-3
        assert not scores[place, number:].any()
        assert not boxes[place, number:].any()
        assert bool(masks) == ("masks" in each)
        if masks:
            pasted = paste_masks_in_image(each["masks"], each["boxes"], size)[:, 0]
            assert masks[0].shape == (len(batch), ours.decoding.detections, *size)
            assert ((pasted > 0.1) & (pasted < 0.9)).any()
            assert (masks[0][place, :number] - pasted).abs().max() < 1e-3
            assert not masks[0][place, number:].any()
            for box, small, mask in zip(boxes[place], calls[0]["masks"][place], masks[0][place], strict=True):
                ends = np.trunc(instances._edges(box.numpy()))  # no edge of these lies at a whole pixel
                assert np.abs(instances.pasted(small.numpy(), ends, size) - mask.numpy()).max() < 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("name", EACH)
def test_the_losses_are_torchvisions_and_reach_every_weight(name: str) -> None:
    size = SIZES.get(name, SIZE)
    model = detector(made(name), size, ASKED).train()
    truth = {
        "boxes": torch.tensor([[[10.0, 10, 60, 70], [80, 20, 140, 90]], [[20, 30, 90, 100], [0, 0, 0, 0]]]),
        "labels": torch.tensor([[1, 2], [0, -1]]),
        "masks": torch.zeros(2, 2, *size, dtype=torch.uint8),
    }
    truth["masks"][..., 20:70, 30:80] = 1
    losses = model.losses(images(2, size), truth)
    assert len(losses) >= 2
    assert ("loss_mask" in losses) == name.startswith("maskrcnn")
    torch.stack(list(losses.values())).sum().backward()  # type: ignore[no-untyped-call]
    assert all(parameter.grad is not None for parameter in model.parameters() if parameter.requires_grad)
    empty = {
        "boxes": torch.zeros(2, 1, 4),
        "labels": torch.full((2, 1), -1),
        "masks": torch.zeros(2, 1, *size, dtype=torch.uint8),
    }
    assert all(torch.isfinite(loss) for loss in model.losses(images(2, size), empty).values())


def test_every_family_has_a_model_here() -> None:
    known = {type(torchvision.models.get_model(name, weights=None, weights_backbone=None)).__name__ for name in MODELS}
    assert len(known) == len(names()) == 5


def test_a_model_that_is_trained_gives_as_many_regions_as_one_that_is_not() -> None:
    model = made("fasterrcnn_mobilenet_v3_large_320_fpn").train()
    assert model.rpn.pre_nms_top_n() != model.rpn._pre_nms_top_n["testing"]
    proposals = cast(Any, detector(model, SIZE, ASKED).proposals)
    assert proposals.before_nms == model.rpn._pre_nms_top_n["testing"]
    assert proposals.after_nms == model.rpn._post_nms_top_n["testing"]
    assert model.training


def test_weights_keep_torchvisions_names() -> None:
    model = ssdlite320_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=CLASSES)
    expected = set(model.state_dict())
    assert set(detector(model, SIZE, ASKED).model.state_dict()) == expected


def greedy(boxes: torch.Tensor, scores: torch.Tensor, labels: torch.Tensor, least: float, limit: float) -> torch.Tensor:
    """Suppression as textbooks have it, one box after the other."""
    kept = torch.zeros(len(scores))
    for place in range(len(scores)):
        alike = [other for other in range(place) if kept[other] and labels[other] == labels[place]]
        overlaps = torchvision.ops.box_iou(boxes[place][None], boxes[alike])[0] if alike else torch.zeros(1)
        kept[place] = float(scores[place] > least and not bool((overlaps > limit).any()))
    return kept


@pytest.mark.parametrize("seed", range(6))
def test_suppression_is_the_greedy_one(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    count = 120
    corner = torch.rand(2, count, 2, generator=generator) * 60
    boxes = torch.cat([corner, corner + 10 + 30 * torch.rand(2, count, 2, generator=generator)], dim=2)
    scores = torch.rand(2, count, generator=generator).sort(descending=True).values
    labels = torch.randint(0, 3, (2, count), generator=generator)
    place = torch.arange(count)
    before = (place[None] < place[:, None]).float()[None]
    kept = survivors(boxes, scores, labels, 0.2, 0.45, before, ROUNDS)
    expected = torch.stack([greedy(*each, 0.2, 0.45) for each in zip(boxes, scores, labels, strict=True)])
    assert torch.equal(kept, expected)


def test_a_chain_of_suppressions_is_followed_to_its_end() -> None:
    length = 12  # each overlaps its neighbours alone: every second one stays
    boxes = torch.tensor([[8.0 * place, 0, 8.0 * place + 20, 10] for place in range(length)])[None]
    scores = torch.linspace(0.9, 0.3, length)[None]
    place = torch.arange(length)
    before = (place[None] < place[:, None]).float()[None]
    kept = survivors(boxes, scores, torch.zeros(1, length).long(), 0.05, 0.4, before, ROUNDS)
    assert kept[0].tolist() == [1.0 if place % 2 == 0 else 0.0 for place in range(length)]


@pytest.mark.parametrize("length", [ROUNDS, ROUNDS + 2, 3 * ROUNDS])
def test_a_chain_longer_than_the_repetitions_is_noticed(length: int) -> None:
    chain = torch.tensor([[8.0 * place, 0, 8.0 * place + 20, 10] for place in range(length)])
    apart = torch.tensor([[30.0 * place, 0, 30.0 * place + 20, 10] for place in range(length)])
    boxes, scores = torch.stack([apart, chain]), torch.linspace(0.9, 0.3, length).repeat(2, 1)
    place = torch.arange(length)
    before = (place[None] < place[:, None]).float()[None]
    labels = torch.zeros(2, length).long()
    with unsettled() as calls:
        kept = survivors(boxes, scores, labels, 0.05, 0.4, before, ROUNDS)
    wrong = not torch.equal(kept[1], greedy(boxes[1], scores[1], labels[1], 0.05, 0.4))
    assert wrong == (length > ROUNDS + 1)
    assert [call.tolist() for call in calls] == [[False, wrong]]
    survivors(boxes, scores, labels, 0.05, 0.4, before, ROUNDS)
    assert len(calls) == 1


class Chain(nn.Module):
    """Boxes side by side, each of which overlaps its neighbours; of a dark picture every second one alone is there."""

    boxes: torch.Tensor
    ranks: torch.Tensor
    even: torch.Tensor

    def __init__(self, length: int):
        super().__init__()
        place = torch.arange(length)
        self.register_buffer("boxes", torch.stack([8.0 * place, 0 * place, 8.0 * place + 20, 0 * place + 10], dim=1))
        self.register_buffer("ranks", torch.linspace(0.9, 0.3, length))
        self.register_buffer("even", (place % 2 == 0).float())

    def forward(self, model: nn.Module, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        shade = image.mean((1, 2, 3)).reshape(-1, 1, 1)
        kept = torch.maximum((shade > 0.5).float(), self.even[None, :, None])  # (N, A, 1)
        return self.boxes + shade, self.ranks[None, :, None] * (0.9 + 0.1 * shade) * kept


@pytest.mark.parametrize(("length", "said"), [(12, 0), (40, 1)])
def test_who_adopts_a_detector_is_told_of_chains_that_are_too_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, length: int, said: int
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("pictures").mkdir()
    for number in range(48):
        shade = 255 - number if number % 2 else number
        Image.new("RGB", (16, 16), (shade, shade, shade)).save(f"pictures/{number}.png")
    decoding = Decoding(score=0.05, iou=0.4, detections=length, candidates=length)
    model = Detector(nn.Identity(), Chain(length), decoding, 1, False, (), ())
    sentences: list[str] = []
    run = anywhere.adopt(
        model, images=Path("pictures"), task="detection", size=(16, 16), labels=("card",), run="chain", golden=16,
        calibration=32, tell=sentences.append,
    )  # fmt: skip
    found = [sentence for sentence in sentences if "suppress each other in a chain" in sentence]
    assert len(found) == said
    assert [each for each in run.checkpoint.findings if each in found] == found
    assert all(re.match(r"suppression: on \d+ of \d+ golden samples more than 16 boxes", each) for each in found)


def test_equal_scores_and_too_many_are_given_in_order() -> None:
    model = ssdlite320_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=CLASSES)
    small = detector(model, SIZE, Decoding(score=1e-6, iou=0.99, detections=5, candidates=50)).eval()
    with torch.no_grad():
        _, scores, _, count = small(images())
    assert count.tolist() == [5, 5, 5]
    assert all(before >= after for before, after in itertools.pairwise(scores[0].tolist()))


def test_what_is_no_detector_is_named() -> None:
    assert family_of(nn.Linear(2, 2)) is None
    with pytest.raises(BadInput, match=r"Linear: no detector that is known; .*retinanet, ssd of torchvision are"):
        detector(nn.Linear(2, 2), SIZE, ASKED)


def crowd(count: int = 40) -> tuple[torch.Tensor, torch.Tensor]:
    """Boxes (1, A, 4) in a few heaps, and scores (1, A, 1), no two alike."""
    generator = torch.Generator().manual_seed(1)
    corner = (
        torch.randint(0, 4, (1, count, 2), generator=generator) * 60 + torch.rand(1, count, 2, generator=generator) * 12
    )
    boxes = torch.cat([corner, corner + 40 + 8 * torch.rand(1, count, 2, generator=generator)], dim=2)
    scores = torch.linspace(0.1, 0.9, count)[torch.randperm(count, generator=generator)]
    return boxes, scores.view(1, -1, 1)


def test_a_rival_comes_in_the_place_of_its_box_where_its_score_is_the_higher_one() -> None:
    boxes, scores = crowd()
    decode = Decode(Decoding(score=0.05, iou=0.5, detections=30, candidates=36))
    found, ranked, _, count = decode(boxes, scores)
    rivals = decode.rivals(boxes, scores)
    assert rivals["least"].item() == scores.flatten().sort(descending=True).values[35]
    tried = 0
    for place in range(int(count)):
        box, score, rival, rivals_score = (
            found[0, place],
            ranked[0, place],
            rivals["boxes"][0, place, 0],
            rivals["scores"][0, place, 0],
        )
        assert (rivals["scores"][0, place] < score).all()
        if not rivals_score:
            assert not rivals["boxes"][0, place, 0].any()
            continue
        changed = scores.clone()
        (mine,), (other,) = ((boxes[0] == each).all(1).nonzero()[:, 0] for each in (box, rival))
        assert scores[0, other, 0] == rivals_score
        changed[0, mine], changed[0, other] = rivals_score, score
        after, *_ = decode(boxes, changed)
        assert not (after == box).all(-1).any()
        assert (after == rival).all(-1).any()
        tried += 1
    assert tried > 3


def test_rivals_are_of_each_call_of_a_detector_and_of_nothing_else() -> None:
    model = detector(made("ssdlite320_mobilenet_v3_large"), SIZE, ASKED).eval()
    with torch.no_grad(), rivals_of(nn.Sequential(model)) as calls:  # as an adopted one lies within another module
        model(images())
        model(images(1))
    assert [call["scores"].shape for call in calls] == [(3, 20, 4), (1, 20, 4)]
    model(images(1))
    assert len(calls) == 2
    with rivals_of(nn.Identity()) as calls:
        pass
    assert not calls
