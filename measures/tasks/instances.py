"""Boxes around things and the mask of each: a detector's decisions, and which pixels of the picture are the thing.

Boxes are paired as of detection. A mask is its box's, so it has its place then; one that shows other pixels than
golden's is another decision.
"""

import itertools
from collections.abc import Mapping, Sequence

import numpy as np

from measures import boxes
from measures.average_precision import average_precision
from measures.boxes import ELSEWHERE
from measures.colours import colour
from measures.tasks import Fair, Pairs, detection
from measures.tasks.detection import (
    DECIDED_BY,
    IN_PLACE,
    MEAN_OF_SAMPLES,
    SENSITIVE_DB,
    SHOWN,
    decide,
    labelled,
    margin,
    names,
    tolerances,
)
from records.errors import AGAIN
from records.golden import Golden
from records.tensor import Array, Arrays

__all__ = [
    "DECIDED_BY", "FLOAT_MODULES", "IN_PLACE", "MEAN_OF_SAMPLES", "METRIC", "SENSITIVE_DB", "decide", "draw",
    "labelled", "margin", "names", "pair", "score", "scores", "told", "tolerances", "weakness",
]  # fmt: skip
METRIC = "mask mAP"
FLOAT_MODULES = (*detection.FLOAT_MODULES, "paste")
SEEN = 0.5
"""Probability from which a pixel is the thing's, as of COCO's masks that torchvision gives."""
ALIKE = 0.75
"""IoU from which two masks are one answer: a choice. Floats are held to their noise besides."""
EXPANSION = 30 / 28
"""Times as wide as its box that a mask with a cell of nothing around it is, in torchvision, before it ends with whole
pixels."""
FAIR_EDGE = 0.25
"""Pixels by which an edge of a mask may miss a whole pixel and be a matter of rounding, at most. Beyond, which integers
reach, masks that end with other pixels are compared as they are."""
FAR = 2.0**24
"""Pixels beyond which no edge is looked for: float32 has no fractions there."""
SHADE = 0.5
"""Share of a class's colour in a mask that is drawn."""


def pair(actual: Arrays, golden: Arrays, fair: Fair) -> Pairs:
    """Return outputs as `boxes.pair` does, and masks (N, D, H, W), each in the place of its box.

    Of a pair whose masks are no answer alike the label is `ELSEWHERE`. torchvision lets a mask end with whole pixels.
    Where rounding decides with which, that is a tie, and its distance is that from golden's mask as it ends with those
    of the artifact's. Without golden's rivals nobody knows that one; there golden's mask stands for one that is alike.
    """
    pairs = boxes.pair(actual, golden, fair)
    outputs, ties = dict(pairs.outputs), pairs.ties.copy()
    noise = fair.noise.get("masks", 0.0)
    small = fair.rivals.get("masks")
    for index in range(len(ties)):
        for place in range(int(np.clip(golden["count"][index], 0, golden["scores"].shape[1]))):
            ours, theirs = outputs["masks"][index, place], golden["masks"][index, place]
            box, expected = (side["boxes"][index, place] for side in (outputs, golden))
            if np.array_equal(ours, theirs) or not all(np.isfinite(part).all() for part in (ours, box, expected)):
                continue
            if small is not None and _left_to_rounding(box, expected, fair, _slack(fair)):
                rival = _nearest(ours, small[index, place], _edges(box), _slack(fair))
                if np.abs(ours - rival).max() < np.abs(ours - theirs).max():
                    ours = (theirs + (ours - rival)).astype(ours.dtype)
                    outputs["masks"][index, place] = ours
                    ties[index] += 1
            overlap = mask_iou(ours, theirs, noise)
            if small is None and overlap >= boxes.PAIRED and _left_to_rounding(box, expected, fair):
                outputs["masks"][index, place] = theirs
                ties[index] += 1
            elif overlap < ALIKE:
                outputs["labels"][index, place] = ELSEWHERE
    return Pairs(outputs, ties)


def mask_iou(ours: Array, theirs: Array, noise: float = 0.0) -> float:
    """Return the intersection over union of two masks (H, W) of probabilities; 1 where both are empty.

    noise: by which a pixel of the second may miss `SEEN` and be left out.
    """
    clear = np.abs(theirs - SEEN) > noise
    first, second = (ours > SEEN) & clear, (theirs > SEEN) & clear
    either = int((first | second).sum())
    return float((first & second).sum() / either) if either else 1.0


def _slack(fair: Fair) -> float:
    """Return by how many pixels allowed noise of the boxes may move an edge of a mask and be a matter of rounding."""
    return min(FAIR_EDGE, EXPANSION * fair.noise.get("boxes", FAIR_EDGE))


def _left_to_rounding(ours: Array, theirs: Array, fair: Fair, beside: float = 0.0) -> bool:
    """True if the masks of two boxes (4,) end with other pixels, and allowed noise of the boxes decides which.

    beside: pixels by which an edge may miss the one of which it ends with another pixel.
    """
    edges = [_edges(box) for box in (ours, theirs)]
    other = np.array(
        [len(_ends(ours, beside) | _ends(theirs, beside)) > 1 for ours, theirs in zip(*edges, strict=True)]
    )
    return bool(other.any() and (np.abs(edges[0] - edges[1])[other] <= _slack(fair)).all())


def _ends(edge: float, slack: float) -> set[int]:
    """Return with which whole pixels an edge may end: torchvision cuts off what is behind the point."""
    return {int(edge - slack), int(edge), int(edge + slack)}


def _nearest(ours: Array, small: Array, edges: Array, slack: float) -> Array:
    """Return the mask (H, W) nearest to ours of those that golden's (M, M) may become, by the pixels it ends with.

    edges: of our box.
    """
    each = itertools.product(*(sorted(_ends(edge, slack)) for edge in edges))
    masks = [pasted(small, np.array(ends), ours.shape) for ends in each]
    return min(masks, key=lambda mask: float(np.abs(ours - mask).max()))


def pasted(small: Array, ends: Array, size: tuple[int, ...]) -> Array:
    """Return a mask (M, M) in a picture of a height and width: (H, W) float64, 0 outside of its ends.

    ends: x and y of the first and of the last pixel that it covers. As torchvision's `paste_masks_in_image`: bilinear,
    with a cell of nothing around the mask.
    """
    columns, lines = (
        _weights(int(first), int(last), pixels, len(small))
        for first, last, pixels in zip(ends[:2], ends[2:], size[::-1], strict=True)
    )
    return np.asarray(lines @ small @ columns.T)


def _weights(first: int, last: int, pixels: int, cells: int) -> Array:
    """Return by how much each pixel of an axis is each cell of a mask from a first to a last pixel: (pixels, cells)."""
    pixel, cell = np.arange(pixels)[:, None], np.arange(1, cells + 1)
    padded = cells + 2
    place = np.clip((pixel - first + 0.5) * (padded / max(last - first + 1, 1)) - 0.5, 0, padded - 1)
    inside = (pixel >= first) & (pixel <= last)
    return np.asarray(np.clip(1 - np.abs(place - cell), 0, None) * inside)


def _edges(box: Array) -> Array:
    """Return where the mask of a box (4,) ends, before that is rounded: x and y of two corners in pixels."""
    corners = np.clip(box.astype(np.float64), -FAR, FAR).reshape(2, 2)
    half = (corners[1] - corners[0]) / 2 * EXPANSION
    centre = (corners[1] + corners[0]) / 2
    return np.concatenate([centre - half, centre + half])


def score(outputs: Arrays, truth: Arrays) -> float:
    """Return COCO's mean average precision of masks, over IoU 0.50 to 0.95; NaN without anything to find.

    outputs: as a model gives them. truth: boxes (N, M, 4), labels (N, M), -1 behind the last, and masks (N, M, H, W).
    """
    return average_precision(_seen(outputs), truth)[0]


def scores(outputs: Arrays, truth: Arrays) -> Mapping[str, float]:
    """Return COCO's mean average precision of masks over IoU 0.50 to 0.95, that at 0.50, and that of boxes."""
    over_all, at_half = average_precision(_seen(outputs), truth)
    return {METRIC: over_all, "mask mAP@50": at_half, "box mAP": detection.score(_without(outputs), truth)}


def _seen(outputs: Arrays) -> Arrays:
    """Return outputs with masks of what is seen (N, D, H, W) bool."""
    return {**outputs, "masks": outputs["masks"] > SEEN}


def _without(outputs: Arrays) -> Arrays:
    return {name: values for name, values in outputs.items() if name != "masks"}


def weakness(golden: Golden, labels: Sequence[str]) -> str:
    """Say what is wrong with golden's boxes and masks, so that an artifact that finds nothing could pass."""
    masks, truth = golden.outputs.get("masks"), golden.truth.get("masks")
    if masks is None or masks.ndim != 4:
        return f"no output masks of one picture for each box. {AGAIN}."
    if why := detection.weakness(golden, labels):
        return why
    small = golden.rivals.get("masks")
    if small is not None and (small.shape[:2] != masks.shape[:2] or small.ndim != 4 or not small.size):
        return f"its rivals have masks {small.shape}, and outputs {masks.shape}: one for each box. {AGAIN}."
    if not (masks > SEEN).any():
        return f"PyTorch itself sees no pixel of any box on any of {len(masks)} samples. Train longer. {AGAIN}."
    if truth is not None and (truth.ndim != 4 or truth.shape[2:] != masks.shape[2:]):
        return f"masks of the truth are {truth.shape}, and outputs {masks.shape}: one height and width. {AGAIN}."
    return ""


def told(outputs: Arrays, labels: Sequence[str]) -> list[str]:
    """Return the boxes of `SHOWN` and better, in pixels of the input, each with how many pixels its mask has."""
    areas = (outputs["masks"] > SEEN).sum(axis=(1, 2))
    shown = [place for place in range(int(outputs["count"])) if outputs["scores"][place] >= SHOWN]
    words = detection.told(outputs, labels)
    return [f"{word}, {areas[place]} pixels" for word, place in zip(words, shown, strict=True)]


def draw(picture: Array, outputs: Arrays, labels: Sequence[str]) -> Array:
    """Return the picture (H, W, 3) uint8 with the masks of `SHOWN` and better shaded, and their boxes drawn on it."""
    shaded = picture.astype(np.float64)
    for place in range(int(outputs["count"])):
        if outputs["scores"][place] >= SHOWN and outputs["masks"].shape[1:] == picture.shape[:2]:
            seen = outputs["masks"][place] > SEEN
            shaded[seen] = (1 - SHADE) * shaded[seen] + SHADE * np.array(colour(int(outputs["labels"][place])))
    return detection.draw(np.round(shaded).astype(np.uint8), outputs, labels)
