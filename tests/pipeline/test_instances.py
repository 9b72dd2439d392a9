"""A Mask R-CNN is trained from the command line: its losses fall, and its checkpoint holds masks."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from pipeline import config as configs
from pipeline import tasks
from pipeline.checkpoint import Checkpoint
from pipeline.config import TrainConfig
from pipeline.golden import check_room
from pipeline.train import settle
from records.errors import BadInput
from tests.conftest import Said
from tests.pipeline.test_things import loaded, written

SMALL = {
    "model.options.rpn_pre_nms_top_n_test": 40,
    "model.options.rpn_post_nms_top_n_test": 20,
    "model.options.box_batch_size_per_image": 32,
    "detection.detections": 4,
    "detection.candidates": 30,
}


def test_by_default_it_is_a_small_mask_r_cnn() -> None:
    settled = settle(configs.read(None, {"task": "instances"}))
    assert settled.model.name == "maskrcnn_resnet50_fpn"
    assert settled.data.size == (160, 160)
    assert settled.detection.detections == 16
    assert settled.model.options["rpn_post_nms_top_n_test"] == 100


def test_reduced_truth_is_that_of_the_smaller_picture(tmp_path: Path) -> None:
    task = tasks.load("instances")
    batch = loaded(written(tmp_path), "instances").train.batch([0, 1])
    smaller = task.reduce(batch, 0.5)
    assert smaller.truth["masks"].shape == (2, 2, 30, 40)
    assert torch.equal(smaller.truth["boxes"], batch.truth["boxes"] / 2)
    assert bool(((smaller.truth["masks"].sum((2, 3)) - 75).abs() <= 20).all())


def test_golden_that_fills_memory_is_refused() -> None:
    masks = torch.zeros(1).expand(1, 100, 800, 800)
    with pytest.raises(BadInput, match=r"golden: masks \(100, 800, 800\) of 256 samples take 66 GB, and 9 GB are the"):
        check_room({"scores": torch.zeros(1, 100), "masks": masks}, 256)
    check_room({"scores": torch.zeros(1, 100), "masks": masks}, 16)


@pytest.mark.nightly
def test_the_losses_fall(tmp_path: Path) -> None:
    data = loaded(written(tmp_path), "instances", **SMALL)
    config = settle(configs.read(None, {
        "task": "instances", "data.dataset": "coco", "data.folder": str(tmp_path / "a.json"),
        "data.image_size": [60, 80], **SMALL,
    }))  # fmt: skip
    torch.manual_seed(0)
    task = tasks.load("instances")
    model = task.build(config, data.labels, weights=True).train()
    batch = data.train.batch([0, 1])
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-4)
    losses = []
    for _ in range(10):
        loss, outputs = task.step(model, batch, TrainConfig())
        assert not outputs
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert sum(losses[-3:]) < 0.7 * sum(losses[:3]), losses


@pytest.mark.nightly
def test_a_training_leaves_a_checkpoint_with_masks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: Callable[..., Said]
) -> None:
    monkeypatch.chdir(tmp_path)
    written(tmp_path)
    said = command(
        "train", "--task", "instances", "--dataset", "coco", "--folder", "a.json", "--run", "masks", "--epochs", "1",
        "--image-size", "60x80", "--set", "data.augmentation=light",
        *(part for key, value in SMALL.items() for part in ("--set", f"{key}={value}")),
    )  # fmt: skip
    assert said.status == 0, said.err
    checkpoint = Checkpoint.open(Path("runs/masks/checkpoint"))
    golden = checkpoint.golden()
    assert golden.outputs["masks"].shape == (4, 4, 60, 80)
    assert golden.truth["masks"].shape == (4, 2, 60, 80)
    record = json.loads((checkpoint.folder / "checkpoint.json").read_text(encoding="utf-8"))
    assert {"test_mask mAP", "test_box mAP"} <= set(record["metrics"])
    assert [tensor.name for tensor in checkpoint.outputs] == ["boxes", "scores", "labels", "count", "masks"]
    assert checkpoint.decoding["detections"] == 4
