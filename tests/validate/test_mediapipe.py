"""MediaPipe's ObjectDetector and ImageSegmenter read our files and find what the models find.

MediaPipe is in a toolchain of the tests (130 MB, seconds to build).
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image
from torch import nn

import anywhere
from export.run import Run
from pipeline.config import DataConfig
from pipeline.datasets import scenes
from pipeline.datasets.scenes import Scenes
from records.golden import Golden
from records.head import FILE, Head
from records.tensor import Array
from tests.pipeline.test_detectors import images, made
from validate import parity
from validate.measure import Options
from validate.runtimes import runner
from validate.settings import ValidateConfig
from workers import registry
from workers.worker import Worker

pytestmark = pytest.mark.slow
APP = Path(__file__).parents[1] / "toolchains" / "mediapipe" / "classify.py"
SIDE, LABELS = 128, ("ace", "two", "three")
PIXEL = 1.01
"""MediaPipe gives whole pixels of a corner and of sides: what is behind the point is cut off."""
OVERLAP = 0.3
"""Beyond which ObjectDetector drops a box of a raw head, unless an app asks otherwise."""


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    chain = registry.find(APP.parents[1])["mediapipe"]
    chain.build()
    with chain.start(tmp_path_factory.mktemp("app") / "app.log", [APP]) as worker:
        yield worker


@pytest.fixture(scope="module", autouse=True)
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of all runs, with thirty scenes as files."""
    place = tmp_path_factory.mktemp("mediapipe")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        (place / "pictures").mkdir()
        split = scenes.read(DataConfig("scenes", image_size=SIDE), "detection").test
        assert isinstance(split, Scenes)
        for number in range(30):
            Image.fromarray(split.scene(number).picture).save(place / "pictures" / f"{number:02}.png")
        yield place


def adopted(run: str, model: nn.Module, task: str, target: str, **wanted: Any) -> Run:
    """A run of a model on the scenes, whose file of a target is the same as the model by `anywhere validate`."""
    labels = wanted.pop("labels", LABELS)
    opened = anywhere.adopt(
        model, images="pictures", task=task, size=(SIDE, SIDE), labels=labels, run=run, golden=20, calibration=8,
        tell=lambda _: None, **wanted,
    )  # fmt: skip
    outcomes = opened.export(to=[target], precision=["float32"])
    assert not [outcome for outcome in outcomes if outcome.status == "failed"], outcomes
    settings = ValidateConfig(only=(f"{target}/float32 in litert xnnpack",))
    (result,) = parity.check(Run.open(run), runner.find(), Options(1, timed=1), settings=settings).results
    assert (result.status, result.reason) == ("pass", "")
    return Run.open(run)


def detector() -> Any:
    """An SSDLite with random weights, which finds something everywhere."""
    model = made("ssdlite320_mobilenet_v3_large")
    model.score_thresh, model.detections_per_img, model.topk_candidates = 0.35, 20, 100
    return model


def segmenter() -> nn.Module:
    """An LR-ASPP with random weights, which sees several classes in a picture."""
    torch.manual_seed(0)
    model: Any = torchvision.models.segmentation.lraspp_mobilenet_v3_large(
        weights=None, weights_backbone=None, num_classes=4
    )
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None
    with torch.no_grad():
        model.train()(images(8, (SIDE, SIDE)) * 2 - 1)
    for layer in (model.classifier.low_classifier, model.classifier.high_classifier):
        nn.init.normal_(layer.weight)
        nn.init.zeros_(layer.bias)
    module = model.eval()
    assert isinstance(module, nn.Module)
    return module


def pictures(golden: Golden, place: Path) -> str:
    """A file of golden's pictures as bytes, which is what they were made of."""
    (images,) = golden.inputs.values()
    np.save(place, np.rint(images * 255).astype(np.uint8).transpose(0, 2, 3, 1))
    return str(place)


def sided(box: Array) -> Array:
    """A corner and two sides of two corners."""
    return np.concatenate([box[:2], box[2:] - box[:2]])


def test_object_detector_gives_the_boxes_of_a_detector(app: Worker, tmp_path: Path) -> None:
    run = adopted("det", detector(), "detection", "mediapipe")
    golden = run.checkpoint.golden()
    artifact, file = run.artifact("mediapipe/float32"), pictures(golden, tmp_path / "images.npy")
    job = {"path": str(artifact.path.absolute()), "images": file, "least": 0.0}
    seen = app.call(APP, "detect", job, tmp_path / "log", 60).value
    counts = golden.outputs["count"].tolist()
    assert [len(each) for each in seen] == counts
    assert 0 < sum(counts) < len(counts) * 20, "there are boxes, and places without"
    for index, each in enumerate(seen):
        assert [one[1] for one in each] == pytest.approx(
            golden.outputs["scores"][index, : len(each)].tolist(), abs=1e-4
        )
        for place, (name, _, box) in enumerate(each):
            assert name == LABELS[golden.outputs["labels"][index, place]]
            assert np.abs(np.array(box) - sided(golden.outputs["boxes"][index, place])).max() < PIXEL


@pytest.mark.nightly
def test_image_segmenter_gives_the_classes_of_a_segmentation_model(app: Worker, tmp_path: Path) -> None:
    names = ("background", *LABELS)
    run = adopted("seg", segmenter(), "segmentation", "tflite", labels=names)
    golden = run.checkpoint.golden()
    artifact, file = run.artifact("tflite/float32"), pictures(golden, tmp_path / "images.npy")
    job = {"path": str(artifact.path.absolute()), "images": file, "out": str(tmp_path / "masks.npz")}
    seen = app.call(APP, "segment", job, tmp_path / "log", 60).value
    logits = golden.outputs["logits"]  # (N, K, H, W)
    shares = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares /= shares.sum(axis=1, keepdims=True)
    with np.load(tmp_path / "masks.npz") as masks:
        assert tuple(seen) == names
        assert np.abs(masks["confidences"] - shares).max() < 1e-3
        classes, expected = masks["classes"].reshape(logits[:, 0].shape), logits.argmax(axis=1)
        two = np.sort(shares, axis=1)[:, -2:]
        sure = two[:, 1] - two[:, 0] > 1e-3
        assert (classes[sure] == expected[sure]).all()
        assert sure.mean() > 0.99
        assert len(np.unique(expected)) > 1


def overlap(box: Array, others: Array) -> Array:
    """Intersection over union of a box (4,) and others (M, 4)."""
    both = (np.minimum(box[2:], others[:, 2:]) - np.maximum(box[:2], others[:, :2])).clip(0).prod(axis=1)
    area = (others[:, 2:] - others[:, :2]).prod(axis=1)
    shared: Array = both / ((box[2:] - box[:2]).prod() + area - both)
    return shared


@pytest.mark.nightly
def test_object_detector_decodes_a_raw_head_as_we_do(app: Worker, tmp_path: Path) -> None:
    """It takes one class of each anchor, and of boxes that overlap, whatever their class, the one of the best score."""
    run = adopted("raw", detector(), "detection", "tflite", head="raw")
    golden, artifact = run.checkpoint.golden(), run.artifact("tflite/float32")
    head = Head.read(artifact.folder / FILE)
    assert head.labels == LABELS
    least, file = head.thresholds["score"], pictures(golden, tmp_path / "images.npy")
    job = {"path": str(artifact.path.absolute()), "images": file, "least": least}
    seen = app.call(APP, "detect", job, tmp_path / "log", 60).value
    assert any(seen)
    boxes, scores = head.boxes(golden.outputs["deltas"]), golden.outputs["scores"]
    for index, each in enumerate(seen):
        best, label = scores[index].max(axis=1), scores[index].argmax(axis=1)
        left = np.flatnonzero(best >= least)
        left = left[np.argsort(-best[left])]
        for name, score, box in each:
            first = left[0]
            assert name == LABELS[label[first]]
            assert score == pytest.approx(best[first], abs=1e-4)
            expected = sided(boxes[index, first])
            expected[:2] = expected[:2].clip(0)  # it moves a corner into the picture, and leaves the sides as they are
            assert np.abs(np.array(box) - expected).max() < PIXEL
            left = left[overlap(boxes[index, first], boxes[index, left]) <= OVERLAP]
        assert len(left) == 0
