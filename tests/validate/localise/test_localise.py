"""The layer at fault is found, in every target whose inside can be read."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

from export.graphs.layers import Place, Twin
from export.run import Run
from export.target import find
from tests.conftest import Said
from tests.validate.test_parity import reseal, rewrite, scale
from validate.localise import localise
from validate.localise.localise import Call, Point, Reference
from validate.report import records, sentences
from validate.report.records import Layer, Localisation
from workers import registry


def layers(*ratios: float) -> list[Layer]:
    return [Layer(f"layer{i}", [], "Conv", f"t{i}", ratio, None, 0.0) for i, ratio in enumerate(ratios)]


@pytest.mark.parametrize(
    ("precision", "ratios", "found"),
    [
        ("float32", (300, 135, 131, 40, 38, 20), "layer3"),
        ("float32", (300, 135, 128, 141, 122), None),
        ("float32", (12, 11, 14), "layer0"),
        ("float32", (130, float("nan"), float("nan")), "layer1"),
        ("float16", (300, 75, 66, 60, 31), "layer4"),
        ("float16", (79, 70, 62, 58), None),
        ("int8", (46, 38, 30, 28, 9, 8), "layer4"),
        ("int8", (46, 38, 30, 26, 22, 18, 14), None),  # builds up
        ("int8_dynamic", (300, 130, 38, 36), None),  # the first integers
        ("int8", (46, 41, 3, 40, 2), "layer2"),
        ("float32", (300, 140, 4, 131, 133), None),  # what follows is right
    ],
)
def test_the_first_jump_beyond_rounding_is_the_culprit(
    precision: str, ratios: tuple[float, ...], found: str | None
) -> None:
    culprit = localise.culprit(layers(*ratios), precision)
    assert (culprit and culprit.module) == found


def network(*names: str) -> Reference:
    """Every module called once, in this order; its tensor is called as it."""
    calls = [Call(name, 0, name != "block", np.ones((1, 8))) for name in names]
    points = {call.module: Point(call.module, at + 1, call.value) for at, call in enumerate(calls)}
    return Reference(calls, points, {})


def test_layers_are_ranked_by_the_noise_that_comes_in() -> None:
    noise = {"a": 0.01, "b": 0.1, "c": 0.1, "bn": 0.3}
    said = [{"tensor": name, "operator": "Conv", "scale": 0.05} for name in noise]
    arrays = {str(index): np.ones((1, 8)) + value for index, value in enumerate(noise.values())}
    found = localise.compare(said, arrays, {name: Twin(name, None, "") for name in noise}, network(*noise))
    assert [one.module for one in sentences.ranked(found)] == ["bn", "b", "a", "c"]
    assert found[1].sqnr_db == pytest.approx(20)
    assert found[1].steps == pytest.approx(2)
    assert found[2].damage == 0


def test_a_layer_names_all_modules_since_the_one_before() -> None:
    said = [{"tensor": "t", "operator": "Conv", "scale": None}]
    names = {"t": Twin("block", None, "")}
    (found,) = localise.compare(said, {"0": np.ones((1, 8))}, names, network("conv", "bn", "block"))
    assert (found.module, found.modules) == ("bn", ["conv", "bn"])


def test_between_modules_onnx_is_the_reference_as_far_as_it_is_right() -> None:
    calls = [Call(name, 0, True, np.ones((1, 8), np.float32)) for name in ("conv", "fc")]
    known = {
        "a": Place("conv", 0),
        "relu": Place("the model", None),
        "b": Place("fc", 0),
        "c": Place("the model", None),
    }
    right = np.ones((1, 8), np.float32)
    found = localise.points(known, calls, {"a": right, "relu": right * 2, "b": right * 1.1, "c": right})
    assert list(found) == ["a", "relu", "b"]
    assert (found["relu"].after, found["b"].after) == (1, 2)
    assert found["b"].value is calls[1].value


def test_layouts_are_turned_back_and_what_does_not_fit_is_left_out() -> None:
    expected = np.arange(24.0).reshape(1, 2, 3, 4)
    assert np.array_equal(localise.laid_out(np.moveaxis(expected, 1, -1), expected, (0, 3, 1, 2)), expected)
    assert np.array_equal(localise.laid_out(np.moveaxis(expected, 1, 2), expected, (0, 2, 1, 3)), expected)
    assert np.array_equal(localise.laid_out(np.moveaxis(expected, 1, -1), expected, None), expected)
    assert localise.laid_out(expected.reshape(1, 24), expected, None) is None


@pytest.fixture(scope="module")
def good(exported: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Localisation]:
    """Every artifact whose inside can be read."""
    import os
    import shutil

    place, before = tmp_path_factory.mktemp("inside"), Path.cwd()
    shutil.copytree(exported, place, dirs_exist_ok=True)
    os.chdir(place)
    try:
        run = Run.open("tiny")
        found = localise.localise_all(run, run.expected(), registry.find(), lambda _: None)
        return {one.artifact: one for one in found}
    finally:
        os.chdir(before)


def test_every_target_but_pytorchs_own_can_be_read_and_a_good_artifact_has_no_culprit(
    good: dict[str, Localisation],
) -> None:
    # MediaPipe's file is TFLite's with another end, and TFLite's can be read.
    assert set(localise.readable()) == set(find()) - {"torchscript", "exported_program", "mediapipe"}
    assert {name.partition("/")[0] for name in good} == set(localise.readable())
    for name, one in good.items():
        assert (one.problem, one.culprit) == ("", None), name
        assert one.runtime
        assert {"conv1", "conv2", "fc1", "fc2"} <= {part for layer in one.layers for part in layer.modules}, name
        ratios = [layer.sqnr_db for layer in one.layers if layer.sqnr_db is not None]
        sound = {"float32": 100, "float16": 50}.get(name.partition("/")[2], 20)
        assert ratios[-1] > sound, name
        if not name.startswith("tfjs"):  # there the first maximum is taken before ReLU
            assert min(ratios) > sound, name


def test_integers_are_told_in_quantization_steps(good: dict[str, Localisation]) -> None:
    for name in ("tflite/int8", "onnx/int8"):
        steps = [layer.steps for layer in good[name].layers if layer.steps is not None]
        assert len(steps) >= 4
        assert 0 < min(steps) <= max(steps) < 30
    assert all(layer.steps is None for layer in good["tflite/float32"].layers)


@pytest.mark.parametrize(("name", "layer"), [("onnx/float32", "conv1"), ("onnx/float16", "fc2")])
def test_one_wrong_weight_leads_to_its_layer(released: Path, name: str, layer: str) -> None:
    rewrite(name, scale(f"{layer}.weight", 1.05))
    (found,) = localise.localise_all(Run.open("tiny"), [name], registry.find(), lambda _: None)
    assert found.culprit
    assert layer in found.culprit.modules
    assert found.culprit.after_db == pytest.approx(26, abs=1.5)  # a twentieth


@pytest.mark.nightly
def test_an_artifact_without_known_layers_is_said_and_the_others_go_on(
    released: Path, command: Callable[..., Said]
) -> None:
    reseal(Path("runs/tiny/artifacts/saved_model/float32"), details={})
    said = command(
        "validate", "tiny", "--localise", "--leave-out", "*tfjs*", "--leave-out", "*lite* in *", "--leave-out", "*web *"
    )
    found = {one.artifact: one for one in records.read(Path("runs/tiny/report/report.json")).localisations}
    assert "Convert it again: anywhere export tiny --force" in found["saved_model/float32"].problem
    assert found["onnx/int8"].layers
    assert said.status == 0


def test_a_model_that_cannot_be_loaded_is_said(released: Path) -> None:
    def cut(model: onnx.ModelProto) -> None:
        del model.graph.node[1:3]

    rewrite("onnx/float32", cut)
    (found,) = localise.localise_all(Run.open("tiny"), ["onnx/float32"], registry.find(), lambda _: None)
    assert "Log: runs/tiny/logs/localise/onnx-float32.log" in found.problem
