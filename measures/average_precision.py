"""COCO's mean average precision of boxes and of masks."""

import contextlib
import io
from typing import Any

import numpy as np

from measures.boxes import Found
from records.tensor import Array, Arrays


def average_precision(outputs: Arrays, truth: Arrays) -> tuple[float, float]:
    """Return COCO's mean average precision over IoU 0.50 to 0.95, and that at 0.50 (https://cocodataset.org/#detection-eval).

    Of boxes; of masks, where outputs have such (N, D, H, W) bool, and truth (N, M, H, W).
    """
    from faster_coco_eval import COCO, COCOeval_faster

    of_masks = "masks" in outputs
    things: list[dict[str, Any]] = []
    for image, (boxes, labels) in enumerate(zip(truth["boxes"], truth["labels"], strict=True)):
        for place in np.flatnonzero(labels >= 0):
            mask = truth["masks"][image, place] if of_masks else None
            things.append(_annotation(len(things) + 1, image, boxes[place], labels[place], mask) | {"iscrowd": 0})
    found: list[dict[str, Any]] = []
    for image in range(len(outputs["count"])):
        each = Found.of(outputs, image)
        known = np.isfinite(each.boxes).all(axis=1) & np.isfinite(each.scores) & (each.labels >= 0)
        for place in np.flatnonzero(known):
            mask = outputs["masks"][image, place] if of_masks else None
            one = _annotation(len(found) + 1, image, each.boxes[place], each.labels[place], mask)
            found.append(one | {"score": float(each.scores[place])})
    if not things:
        return float("nan"), float("nan")
    if not found:
        return 0.0, 0.0
    classes = sorted({thing["category_id"] for thing in (*things, *found)})
    size = dict(zip(("height", "width"), outputs["masks"].shape[2:], strict=True)) if of_masks else {}
    images = [{"id": image, **size} for image in range(len(outputs["count"]))]
    with contextlib.redirect_stdout(io.StringIO()):
        right = COCO({"images": images, "categories": [{"id": label} for label in classes], "annotations": things})
        evaluation = COCOeval_faster(right, right.loadRes(found), "segm" if of_masks else "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return float(evaluation.stats[0]), float(evaluation.stats[1])


def _annotation(number: int, image: int, box: Array, label: Any, mask: Array | None) -> dict[str, Any]:
    x, y, width, height = (float(value) for value in (box[0], box[1], box[2] - box[0], box[3] - box[1]))
    annotation = {
        "id": number,
        "image_id": image,
        "category_id": int(label),
        "bbox": [x, y, width, height],
        "area": width * height,
    }
    if mask is None:
        return annotation
    from faster_coco_eval import mask as coco_mask

    lengths = coco_mask.encode(np.asfortranarray(mask, np.uint8))
    return {**annotation, "segmentation": lengths, "area": float(mask.sum())}
