"""Suppression of overlapping boxes, for a known number of images and classes."""

import numpy as np
import tensorflow as tf

from export.graphs.importer.node import Node, since
from export.graphs.importer.value import Value


@since(10)
def NonMaxSuppression(
    node: Node, boxes: Value, scores: Value, most: Value | None = None, overlap: Value | None = None,
    least: Value | None = None,
) -> Value:  # fmt: skip
    """Build the choice of boxes, the best first in each class, as (chosen, 3): image, class and box.

    boxes: (N, boxes, 4). scores: (N, classes, boxes).
    """
    images, classes, count = (node.static(scores, axis) for axis in range(3))
    bound = min(count, int(node.known(most, "bound").item())) if most is not None else 0
    limit = float(node.known(overlap, "overlap").item()) if overlap is not None else 0.0
    floor = float(node.known(least, "least score").item()) if least is not None else -np.inf
    corners = boxes.logical
    if node.flag("center_point_box"):
        middle, half = corners[..., :2], corners[..., 2:] * 0.5
        corners = tf.concat([middle - half, middle + half], -1)
    parts = []
    for image in range(images):
        for label in range(classes):
            chosen, valid = tf.raw_ops.NonMaxSuppressionV4(
                boxes=corners[image], scores=scores.logical[image, label], max_output_size=bound,
                iou_threshold=np.float32(limit), score_threshold=np.float32(floor), pad_to_max_output_size=True,
            )  # fmt: skip
            chosen = chosen[:valid]
            same = tf.ones_like(chosen)
            parts.append(tf.stack([same * image, same * label, chosen], 1))
    return Value(tf.concat(parts, 0) if parts else np.zeros((0, 3), np.int64))
