"""Runs in the toolchain mediapipe: what an app sees of a .tflite, and what is in it by MediaPipe's own schemas."""

# ruff: noqa: E402
import sys
from types import ModuleType
from typing import Any

# Only MediaPipe's drawing helpers use them, but importing it imports those.
for name in ("cv2", "matplotlib", "matplotlib.pyplot"):
    sys.modules[name] = ModuleType(name)

import mediapipe
import numpy as np
from mediapipe.tasks.metadata import schema_py_generated as schema
from mediapipe.tasks.python import BaseOptions
from mediapipe.tasks.python.vision import (
    ImageClassifier,
    ImageClassifierOptions,
    ImageSegmenter,
    ImageSegmenterOptions,
    ObjectDetector,
    ObjectDetectorOptions,
)


def classify(path: str, images: str) -> list[list[tuple[str, float]]]:
    """A .npy of (N, H, W, 3) uint8 → for each picture labels and scores, greatest first."""
    options = ImageClassifierOptions(BaseOptions(model_asset_path=path))
    with ImageClassifier.create_from_options(options) as classifier:
        return [
            [(one.category_name, one.score) for one in classifier.classify(image).classifications[0].categories]
            for image in map(_image, np.load(images))
        ]


def detect(path: str, images: str, least: float) -> list[list[tuple[str, float, tuple[int, int, int, int]]]]:
    """A .npy of (N, H, W, 3) uint8 → for each picture labels, scores from `least` on, boxes: x, y, width and height."""

    def told(one: Any) -> Any:
        category, box = one.categories[0], one.bounding_box
        return category.category_name, category.score, (box.origin_x, box.origin_y, box.width, box.height)

    options = ObjectDetectorOptions(BaseOptions(model_asset_path=path), score_threshold=least)
    with ObjectDetector.create_from_options(options) as detector:
        return [list(map(told, detector.detect(image).detections)) for image in map(_image, np.load(images))]


def segment(path: str, images: str, out: str) -> list[str]:
    """A .npy of (N, H, W, 3) uint8 → the labels; `out`: a .npz of classes (N, H, W) and confidences (N, K, H, W)."""
    options = ImageSegmenterOptions(
        BaseOptions(model_asset_path=path), output_category_mask=True, output_confidence_masks=True
    )
    with ImageSegmenter.create_from_options(options) as segmenter:
        masks = [segmenter.segment(image) for image in map(_image, np.load(images))]
        np.savez(
            out,
            classes=[one.category_mask.numpy_view() for one in masks],
            confidences=[[mask.numpy_view() for mask in one.confidence_masks] for one in masks],
        )
        return list(segmenter.labels)


def _image(pixels: Any) -> Any:
    return mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=pixels)


def read(path: str) -> dict[str, Any]:
    """What the model lists as metadata, its signatures, and each buffer's place and length in the file."""
    with open(path, "rb") as file:  # noqa: PTH123
        model = schema.Model.GetRootAsModel(file.read(), 0)
    buffers = [model.Buffers(number) for number in range(model.BuffersLength())]
    return {
        "metadata": [model.Metadata(number).Name().decode() for number in range(model.MetadataLength())],
        "signatures": [model.SignatureDefs(one).SignatureKey().decode() for one in range(model.SignatureDefsLength())],
        "buffers": [
            (buffer._tab.Vector(buffer._tab.Offset(4)), buffer.DataLength())
            for buffer in buffers
            if buffer.DataLength()
        ],
    }
