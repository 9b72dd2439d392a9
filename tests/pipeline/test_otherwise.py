"""Detectors that choose inside are asked with other roundings; captured ones tell what they all but chose."""

import copy

import torch
from torch import nn

from measures.boxes import OTHER
from pipeline.detectors import detector, joined, rivals_of
from pipeline.detectors.captured import watchable
from pipeline.models import predict
from pipeline.oracle import in_double
from pipeline.otherwise import FOUND, TIMES, decides_inside, otherwise
from pipeline.probes import doubled
from tests.pipeline.test_detectors import ASKED, SIZE, images, made


def test_a_detector_with_regions_decides_inside_and_one_without_does_not() -> None:
    inside = {
        name: decides_inside(detector(made(name), SIZE, ASKED).eval(), {"image": images(1)})
        for name in ("ssdlite320_mobilenet_v3_large", "fasterrcnn_mobilenet_v3_large_320_fpn")
    }
    assert list(inside.values()) == [False, True]
    assert decides_inside(nn.Conv2d(3, 4, 1), {"image": images(1)})  # nobody knows how it chooses


def test_answers_of_other_roundings_are_near_and_not_the_same_and_always_the_same_ones() -> None:
    model = detector(made("fasterrcnn_mobilenet_v3_large_320_fpn"), SIZE, ASKED).eval()
    inputs = {"image": images(2)}
    plain = predict(model, inputs, FOUND)
    double = copy.deepcopy(model).double()
    with in_double():
        oracle = predict(double, doubled(inputs), FOUND)
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    given = inputs["image"].clone()
    found = otherwise(model, inputs, FOUND, 32, oracle)
    assert {name: value.shape[:2] for name, value in found.items()} == dict.fromkeys(
        (f"{OTHER}.{name}" for name in FOUND), (2, TIMES + 1)
    )
    scores = found[f"{OTHER}.scores"]
    assert scores.dtype == torch.float32
    for place in range(TIMES + 1):
        best = (scores[:, place, 0] - plain["scores"][:, 0]).abs()
        assert 0 < best.max() < 1e-4
    again = otherwise(model, inputs, FOUND, 32, oracle)
    assert all(torch.equal(value, again[name]) for name, value in found.items())
    first = otherwise(model, inputs, FOUND, 32, oracle, count=1)
    for name, value in found.items():
        exact = oracle[name.removeprefix(f"{OTHER}.")][1].to(value.dtype)
        assert all(torch.equal(answer, exact) for answer in first[name][1])
        assert first[name].shape == value.shape
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in weights.items())
    assert torch.equal(given, inputs["image"])


def test_a_captured_detector_tells_the_same_rivals() -> None:
    for name in ("ssdlite320_mobilenet_v3_large", "maskrcnn_resnet50_fpn"):
        model = detector(made(name), SIZE, ASKED).eval()
        batch = images(2)
        captured = torch.export.export(nn.Sequential(model), (batch,), strict=False).module()
        program = watchable(torch.fx.GraphModule(captured, captured.graph), model.decoding.record(), SIZE)
        with torch.no_grad(), rivals_of(model) as calls, rivals_of(program) as of_program:
            outputs, same = model(batch), program(batch)
        assert all(torch.equal(*pair) for pair in zip(outputs, same, strict=True))
        expected, found = joined(calls), joined(of_program)
        assert expected.keys() == found.keys()
        assert ("masks" in found) == name.startswith("mask")
        assert all(torch.equal(value, found[name]) for name, value in expected.items())


def test_a_program_without_boxes_stays_as_it_is() -> None:
    captured = torch.export.export(nn.Sequential(nn.Conv2d(3, 4, 1)), (images(1),)).module()
    program = torch.fx.GraphModule(captured, captured.graph)
    before = list(program.graph.nodes)
    watchable(program, {}, SIZE)
    watchable(program, ASKED.record(), SIZE)
    assert list(program.graph.nodes) == before
