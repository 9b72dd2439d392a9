"""What was found is judged by COCO's average precision, told and drawn; golden that proves nothing is refused."""

from dataclasses import replace

import numpy as np
import pytest

from measures.boxes import OTHER
from measures.tasks import detection
from records.golden import Golden
from tests.measures.test_boxes import A, B, found, others, rivals, shifted

TRUTH = {"boxes": np.array([[A[0], B[0]]], np.float32), "labels": np.array([[3, 1]])}


def test_mean_average_precision_is_cocos() -> None:
    assert detection.score(found(A, B), TRUTH) == pytest.approx(1.0)
    assert detection.score(found(), TRUTH) == 0
    assert detection.score(found(A), TRUTH) == pytest.approx(0.5)  # of two classes one is found
    away = (shifted(A[0], 10), 0.9, 3)  # IoU 0.47
    assert detection.score(found(away, B), TRUTH) == pytest.approx(0.5)
    slightly = (shifted(A[0], 3), 0.9, 3)  # IoU 0.79: right up to 0.75
    scores = detection.scores(found(slightly, B), TRUTH)
    assert scores["mAP@50"] == pytest.approx(1.0)
    assert scores["mAP"] == pytest.approx((0.6 + 1) / 2)


def test_rivals_that_are_not_of_golden_s_boxes_are_refused() -> None:
    inputs = {"image": np.zeros((1, 3, 100, 100), np.float32)}
    golden = Golden(inputs, found(A, B), found(A, B), {}, rivals())
    assert detection.weakness(golden, ("a", "b", "c", "d")) == ""
    for name, wrong in (
        ("boxes", rivals()["boxes"][:, :1]),
        ("scores", rivals()["scores"].astype(np.int64)),
        ("scores", rivals()["scores"][..., 0]),
        ("least", np.zeros(3, np.float32)),
    ):
        altered = replace(golden, rivals={**rivals(), name: wrong})
        assert "its rivals are" in detection.weakness(altered, ("a", "b", "c", "d"))
        assert "its rivals are" in detection.weakness(
            replace(golden, rivals={key: values for key, values in rivals().items() if key != name}),
            ("a", "b", "c", "d"),
        )


def test_golden_whose_boxes_are_a_matter_of_rounding_is_refused() -> None:
    inputs, names = {"image": np.zeros((1, 3, 100, 100), np.float32)}, ("a", "b", "c", "d")
    golden = Golden(inputs, found(A, B), found(A, B), {}, others(found(A, B), found(B, A)))
    assert detection.weakness(golden, names) == ""
    altered = replace(golden, rivals=others(found(A, B), found(A)))
    assert "50% are gone when it is rounded otherwise" in detection.weakness(altered, names)
    broken = others(found(A, B), found(A))
    broken[f"{OTHER}.boxes"][0, 1, 0] = np.nan  # which says nothing
    assert detection.weakness(replace(golden, rivals=broken), names) == ""


def test_a_box_is_drawn_around_what_was_found() -> None:
    picture = np.zeros((300, 300, 3), np.uint8)
    outputs = {name: values[0] for name, values in found(A).items()}
    drawn = detection.draw(picture, outputs, ["a", "b", "c", "d"])
    assert drawn[10, 30].any()
    assert drawn[60, 30].any()
    assert not drawn[35, 35].any()
    assert not picture.any()


@pytest.mark.parametrize("far", [1e9, 1e30, -1e30])
def test_a_box_that_lies_anywhere_can_be_drawn(far: float) -> None:
    outputs = {
        name: values[0] for name, values in found(((-far, -far, far, far), 0.9, -7), ((far,) * 4, 0.8, 2)).items()
    }
    assert detection.draw(np.zeros((40, 60, 3), np.uint8), outputs, ("a",)).shape == (40, 60, 3)
