"""What a raw head leaves out, `decoding.json` makes up for: the boxes are the detector's own."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import anywhere
from pipeline.checkpoint import Checkpoint
from pipeline.detectors import detector
from pipeline.detectors.raw import RawHead
from records.errors import BadInput
from records.head import Head
from tests.pipeline.test_detectors import ASKED, SIZE, images, made
from tests.pipeline.test_things import written

LABELS = ("a", "b", "c")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ssdlite320_mobilenet_v3_large", "retinanet_resnet50_fpn_v2", "fcos_resnet50_fpn"])
def test_boxes_of_a_raw_head_are_the_detectors_own(name: str, tmp_path: Path) -> None:
    whole = detector(made(name), SIZE, ASKED).eval()
    raw = RawHead(whole).eval()
    file = tmp_path / "decoding.json"
    file.write_text(raw.record(LABELS).text())
    head = Head.read(file)
    assert (head.size, head.labels, head.thresholds["iou"]) == (SIZE, LABELS, 0.5)
    with torch.no_grad():
        deltas, scores = raw(images(2))
        boxes, expected = whole.proposals(whole.model, whole.normalised(images(2)))
    assert torch.equal(scores, expected)
    height, width = SIZE
    found = head.boxes(deltas.numpy()).clip(0, [width, height, width, height])
    assert found.shape == boxes.shape
    assert np.abs(found - boxes.numpy()).max() < 0.01


@pytest.mark.slow
def test_a_training_ends_with_a_raw_head_where_one_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    save_file(made("ssdlite320_mobilenet_v3_large").state_dict(), "started.safetensors")
    said = command(
        "train", "--task", "detection", "--head", "raw", "--folder", str(written(tmp_path)), "--run", "raw",
        "--image-size", "96x128", "--epochs", "1", "--batch-size", "8", "--weights", "started.safetensors",
        "--learning-rate", "1e-6",
    )  # fmt: skip
    assert said.status == 0, said.err
    checkpoint = Checkpoint.open(tmp_path / "runs" / "raw" / "checkpoint")
    head, outputs = checkpoint.head(), checkpoint.golden().outputs
    assert head is not None
    assert (head.size, head.labels) == ((96, 128), checkpoint.labels)
    assert outputs["deltas"].shape[1:] == (len(head.anchors), 4)
    assert outputs["scores"].shape[1:] == (len(head.anchors), len(head.labels))
    assert (outputs["scores"] > 0).all()
    assert "test_mAP" in checkpoint.metrics


def test_two_stages_have_no_raw_head() -> None:
    with pytest.raises(BadInput, match=r"FasterRCNN finds regions first .* Leave --head out"):
        RawHead(detector(made("fasterrcnn_mobilenet_v3_large_320_fpn"), SIZE, ASKED))


@pytest.mark.parametrize(
    ("task", "head", "said"),
    [("classification", "raw", "Add --task detection"), ("detection", "bare", "raw is the only one")],
)
def test_a_head_that_is_none_is_refused(task: str, head: str, said: str) -> None:
    with pytest.raises(BadInput, match=said):
        anywhere.adopt(torch.nn.Flatten(), images="nowhere", task=task, head=head, tell=lambda _: None)
