"""What runs on the fast path of a phone is counted as LiteRT itself plans it, and what does not is named.

data/lint.py says how the files were made.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from export.graphs.layers import canonical
from export.run import Run
from workers import registry
from workers.worker import Worker

DATA = Path(__file__).parents[2] / "data"
FILE = Path(__file__).with_name("lint_file.py")
Look = Callable[..., dict[str, Any]]


FOREIGN = ("litert",)


@pytest.fixture(scope="module")
def litert(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    chain = registry.find()["litert"]
    chain.build()
    with chain.start(tmp_path_factory.mktemp("litert") / "worker.log", [FILE]) as worker:
        yield worker


@pytest.fixture
def look(litert: Worker, tmp_path: Path) -> Look:
    def call(name: str, modules: dict[str, str] | None = None) -> dict[str, Any]:
        path = DATA / f"{name}.tflite" if "/" not in name else Path(name)
        arguments = {"path": str(path), "modules": modules or {}}
        return dict(litert.call(FILE, "look", arguments, tmp_path / "log", 60).value)

    return call


def kinds(found: list[dict[str, Any]]) -> list[str]:
    return [f"{one['operator']} {one['what']}".rstrip() for one in found]


@pytest.mark.parametrize(
    ("name", "operators", "xnnpack", "parts", "plain", "unlisted"),
    [
        ("lint-whole", 2, 2, 1, [], []),
        ("lint-half", 2, 2, 1, [], []),  # weights of float16 become float32 when the file is loaded: no operators
        ("lint-argmax", 2, 1, 1, ["ARG_MAX of int64"], ["ARG_MAX of int64"]),
        ("lint-gather", 4, 2, 1, ["CAST of int64", "GATHER of int64"],
         ["STRIDED_SLICE of 1 axis", "CAST of int64", "GATHER of int64"]),
        ("lint-five", 3, 3, 1, [], ["RESHAPE of 5 axes", "TRANSPOSE of 5 axes", "RESHAPE of 5 axes"]),
        ("lint-seven", 3, 0, 0, ["RESHAPE of 7 axes", "MUL of 7 axes", "RESHAPE of 7 axes"],
         ["RESHAPE of 7 axes", "MUL of 7 axes", "RESHAPE of 7 axes"]),
        ("lint-flex", 4, 3, 2, ["FlexMatrixDeterminant"], ["FlexMatrixDeterminant"]),
        ("lint-loop", 1, 0, 0, ["WHILE"], ["WHILE"]),
        ("lint-row", 1, 0, 0, ["STRIDED_SLICE that drops or adds an axis"],
         ["STRIDED_SLICE that drops or adds an axis"]),
        ("mean-uint8", 5, 3, 1, ["QUANTIZE of uint8", "QUANTIZE of uint8"], []),
    ],
)  # fmt: skip
def test_every_operator_that_a_delegate_leaves_is_counted_and_named(
    look: Look, name: str, operators: int, xnnpack: int, parts: int, plain: list[str], unlisted: list[str]
) -> None:
    found = look(name)
    assert (found["operators"], found["xnnpack"]["takes"], found["xnnpack"]["parts"]) == (operators, xnnpack, parts)
    assert kinds(found["xnnpack"]["left"]) == plain
    assert (found["gpu"]["takes"], kinds(found["gpu"]["left"])) == (operators - len(unlisted), unlisted)


def test_an_operator_is_named_with_its_tensor_type_shape_and_module(look: Look, litert: Worker, tmp_path: Path) -> None:
    path = str(DATA / "lint-argmax.tflite")
    *_, last = litert.call(FILE, "names", {"path": path}, tmp_path / "log", 60).value
    modules = {canonical(last): "head.decide"}
    (left,) = look("lint-argmax", modules)["xnnpack"]["left"]
    assert left == {
        "operator": "ARG_MAX",
        "what": "of int64",
        "tensor": last,
        "dtype": "int64",
        "shape": [1, 8, 8],
        "module": "head.decide",
    }
    assert look("lint-argmax", modules)["findings"] == [
        "1 of 2 operators run in XNNPACK and are on the GPU delegate's published list (not measured); not: 1 ARG_MAX "
        "of int64 (in head.decide)."
    ]


def test_a_file_that_runs_whole_has_no_findings_but_says_so(look: Look) -> None:
    found = look("lint-whole")
    assert found["findings"] == []
    assert found["sentences"] == [
        "all 2 operators run in XNNPACK.",
        "all 2 operators are on the GPU delegate's published list (not measured).",
    ]
    assert found["runtime"].startswith("LiteRT 2.")


def test_conversions_at_the_models_ends_are_no_finding(look: Look) -> None:
    found = look("mean-uint8")
    assert found["findings"] == []
    assert "3 of 5 operators run in XNNPACK; not: 2 QUANTIZE of uint8 (at the model's ends)." in found["sentences"]


def test_flex_int64_and_many_axes_are_said(look: Look) -> None:
    found = look("lint-flex")
    assert kinds(found["flex"]) == ["FlexMatrixDeterminant"]
    assert found["custom"] == found["int64"] == found["many_axes"] == []
    assert "an app has to ship TensorFlow's own operators for 1 FlexMatrixDeterminant." in found["findings"]
    assert kinds(look("lint-gather")["int64"]) == ["CAST", "GATHER"]
    assert "int64 flows through 1 CAST, 1 GATHER." in look("lint-gather")["sentences"]
    five = look("lint-five")
    assert kinds(five["many_axes"]) == ["RESHAPE of 5 axes", "TRANSPOSE of 5 axes", "RESHAPE of 5 axes"]
    assert five["findings"] == [
        "0 of 3 operators are on the GPU delegate's published list (not measured); not: 2 RESHAPE of 5 axes, "
        "1 TRANSPOSE of 5 axes."
    ]


def test_a_file_that_ends_litert_is_a_finding_and_nobodys_end(look: Look, litert: Worker, tmp_path: Path) -> None:
    """Steps of zero, which LiteRT divides by."""
    path = tmp_path / "broken.tflite"
    litert.call(
        FILE, "without_steps", {"path": str(DATA / "mean-uint8.tflite"), "out": str(path)}, tmp_path / "log", 60
    )
    found = look(str(path))
    assert (found["xnnpack"]["takes"], found["xnnpack"]["parts"], found["operators"]) == (0, 0, 5)
    assert found["findings"][0].startswith("XNNPACK was not asked: LiteRT ended its process with status -")
    assert look("lint-whole")["findings"] == []


def test_the_lint_of_every_tflite_file_is_in_its_manifest(released: Path) -> None:
    for precision in ("float32", "float16", "int8_dynamic", "int8", "int8_int16"):
        artifact = Run.open("tiny").artifact(f"tflite/{precision}")
        found = artifact.details["lint"]
        assert found["operators"] > 5
        assert found["sentences"]
        places = {one["module"] for one in found["xnnpack"]["left"]}
        if precision == "int8_int16":  # which neither delegate takes
            count = found["operators"]
            assert {"conv1", "fc1"} <= places
            assert [one.partition(" (in ")[0] for one in artifact.findings] == [
                f"0 of {count} operators run in XNNPACK and are on the GPU delegate's published list (not measured); "
                f"not: {count} of int16"
            ]
        else:
            assert places <= {"the model's ends"}
            assert artifact.findings == ()
