"""A Mask R-CNN goes from torchvision's weights to every format, and its boxes and masks are compared."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import anywhere
from benchmarks.zoo.checkpoints import make
from benchmarks.zoo.measure import PREPARED
from benchmarks.zoo.networks import Network
from export.run import Run
from pipeline.checkpoint import Checkpoint
from records.tensor import Array
from tests.validate.test_things import SIDE, judged
from validate import parity
from validate.measure import Options
from validate.runtimes import runner
from validate.settings import ValidateConfig

pytestmark = pytest.mark.nightly
ROWS = ("onnx/float32 in onnxruntime", "saved_model/float32 in tensorflow plain")


@pytest.fixture(scope="module")
def masked(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run of a Mask R-CNN with random weights, which finds something everywhere, exported in float32."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("masked"))
        options = {"rpn_pre_nms_top_n_test": 100, "rpn_post_nms_top_n_test": 50}
        network = Network("masked", "maskrcnn_resnet50_fpn", SIDE, options, "instances")
        make(network, Path("runs/masked"))
        run = anywhere.Run("masked")
        outcomes = run.export(to=["onnx", "saved_model"], precision=["float32"])
        assert not [outcome for outcome in outcomes if outcome.status == "failed"], outcomes
        folder = run.folder.absolute()
        return Run(folder, Checkpoint.open(folder / "checkpoint"))


def test_every_format_finds_the_same_masks(masked: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(masked.folder.parents[1])
    outputs = masked.checkpoint.golden().outputs
    assert outputs["masks"].shape[2:] == (SIDE, SIDE)
    assert outputs["count"].sum() > 100
    assert 0.001 < (outputs["masks"] > 0.5).mean() < 0.9
    report = parity.check(Run.open("masked"), runner.find(), Options(1, timed=1), settings=ValidateConfig(only=ROWS))
    beyond = {result.name: result.reason for result in report.results if result.status != "pass"}
    assert {name: why for name, why in beyond.items() if not PREPARED.fullmatch(why)} == {}  # of random weights
    assert len(report.results) == len(ROWS)
    for result in report.results:
        assert result.agreement and result.agreement.share == 1
        assert [output.name for output in result.outputs] == ["boxes", "scores", "labels", "count", "masks"]
        assert all(judged.within for output in result.outputs for judged in output.judgements)
        worst = {output.name: output.max_absolute for output in result.outputs}
        assert worst["masks"] is not None and 0 < worst["masks"] < 1e-3


def emptied(outputs: dict[str, Array]) -> None:
    outputs["masks"][:] = 0


def transposed(outputs: dict[str, Array]) -> None:
    outputs["masks"] = outputs["masks"].transpose(0, 1, 3, 2).copy()


def of_the_next_box(outputs: dict[str, Array]) -> None:
    outputs["masks"] = np.roll(outputs["masks"], 1, axis=1)


def a_pixel_to_the_right(outputs: dict[str, Array]) -> None:
    outputs["masks"] = np.roll(outputs["masks"], 1, axis=3)


def thresholded(outputs: dict[str, Array]) -> None:
    outputs["masks"] = (outputs["masks"] > 0.5).astype(np.float32)


def logits(outputs: dict[str, Array]) -> None:
    share = np.clip(outputs["masks"], 1e-6, 1 - 1e-6)
    outputs["masks"] = np.where(share > 1e-5, np.log(share / (1 - share)), 0).astype(np.float32)


def one_lost(outputs: dict[str, Array]) -> None:
    index = int(outputs["masks"].max((2, 3))[:, 0].argmax())
    outputs["masks"][index, 0] = 0


@pytest.mark.parametrize(
    "change", [emptied, transposed, of_the_next_box, a_pixel_to_the_right, thresholded, logits, one_lost]
)
def test_what_is_wrong_with_masks_is_seen(masked: Run, change: Any) -> None:
    result = judged(masked, change)
    assert result.status == "fail", result
    assert "masks" in result.reason


def test_boxes_in_another_order_with_their_masks_are_right(masked: Run) -> None:
    def turned(outputs: dict[str, Array]) -> None:
        for index, count in enumerate(outputs["count"]):
            for name in ("boxes", "scores", "labels", "masks"):
                outputs[name][index, :count] = outputs[name][index, :count][::-1].copy()

    assert judged(masked, turned).status == "pass"
