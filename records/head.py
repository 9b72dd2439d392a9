"""The raw head of a detector: what makes boxes of its two outputs, as `decoding.json` beside a file says it.

    head = Head.read(Path("artifacts/tflite/float32/decoding.json"))
    boxes = head.boxes(deltas)                 # (N, A, 4): x and y of two corners, in pixels of the input

Runs inside toolchains: numpy only.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from records.tensor import Array

FILE = "decoding.json"
OUTPUTS = {"deltas": "NAX", "scores": "NAK"}
"""Name of each output → a letter for each of its axes: A for anchors, K for classes."""


@dataclass(frozen=True)
class Head:
    """Anchors, and what the numbers of a raw head mean beside them."""

    size: tuple[int, int]
    """Height and width of the input in pixels."""
    anchors: tuple[tuple[float, float, float, float], ...]
    """(A, 4): y and x of the centre, height and width, as shares of the input's height and width."""
    scales: tuple[float, float, float, float]
    """What y, x, height and width of a delta are divided by."""
    exponential: bool
    """True if height and width are logarithms."""
    thresholds: Mapping[str, float]
    """What boxes are chosen by elsewhere: score, iou, detections and candidates, as in a checkpoint's `decoding`."""
    labels: tuple[str, ...]
    """(K,): what the last axis of the scores stands for."""

    def boxes(self, deltas: Array) -> Array:
        """Return boxes (N, A, 4), x and y of two corners in pixels, of deltas (N, A, 4).

        The formula of S. Ren et al., Faster R-CNN, 2015 (https://arxiv.org/abs/1506.01497). The borders of the picture
        cut nothing off.
        """
        anchors, scales = np.asarray(self.anchors, np.float32), np.asarray(self.scales, np.float32)
        change = deltas / scales
        centre = change[..., :2] * anchors[:, 2:] + anchors[:, :2]
        sides = (np.exp(change[..., 2:]) if self.exponential else change[..., 2:]) * anchors[:, 2:]
        corners = np.concatenate([centre - sides / 2, centre + sides / 2], axis=-1)  # y, x, y, x
        height, width = self.size
        return (corners * np.array([height, width, height, width], np.float32))[..., [1, 0, 3, 2]]

    def text(self) -> str:
        """Return the content of its file."""
        record = asdict(self)
        record["anchors"] = [[float(f"{value:.9g}") for value in anchor] for anchor in self.anchors]
        return json.dumps(record)

    @classmethod
    def read(cls, path: Path) -> "Head":
        """Return what a file says. Raises ValueError and KeyError for a malformed one."""
        record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        y, x, height, width = map(float, record["scales"])
        return cls(
            size=(int(record["size"][0]), int(record["size"][1])),
            anchors=tuple((float(y), float(x), float(high), float(wide)) for y, x, high, wide in record["anchors"]),
            scales=(y, x, height, width),
            exponential=bool(record["exponential"]),
            thresholds=dict(record["thresholds"]),
            labels=tuple(map(str, record["labels"])),
        )
