"""The importer on small graphs: right for every batch, in the layout it is stored in, and refused by name.

Each graph is traced once with an open batch, run for a batch of 1 and of 5, and compared with ONNX Runtime.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import load_file, save_file
from torch import nn

from measures.distance import sqnr_db
from records.tensor import Array
from workers import registry
from workers.worker import Worker

HERE = Path(__file__).parent
BATCHES = (1, 5)
Arrays = dict[str, Array]
Dims = Sequence[int | str]


@dataclass(frozen=True)
class Built:
    """A graph in TensorFlow, and what it gave."""

    outputs: list[Arrays]
    """Of each batch, in the caller's layout."""
    operators: Mapping[str, int]
    least: float
    numbers: int
    """Of all constants of floats."""
    wide: list[str]
    """Kinds of the operators that give int64."""


class Refusal(Exception):
    """What the importer said."""


@dataclass
class Importer:
    """The importer in its toolchain."""

    worker: Worker
    folder: Path

    def build(self, model: onnx.ModelProto, batches: Sequence[Arrays], last: Sequence[str] = ()) -> Built:
        """One traced function, and its outputs of each batch. Raises Refusal."""
        path, log = self.folder / "model.onnx", self.folder / "log"
        onnx.save(model, path)
        files = [(self.folder / f"{index}.in", self.folder / f"{index}.out") for index in range(len(batches))]
        for (source, _), arrays in zip(files, batches, strict=True):
            save_file({name: np.ascontiguousarray(value) for name, value in arrays.items()}, source)
        names = [[str(source), str(out)] for source, out in files]
        arguments = {"path": str(path), "files": names, "last": list(last)}
        said: dict[str, Any] = self.worker.call(HERE / "graphs.py", "build", arguments, log, 120).value
        if "refused" in said:
            raise Refusal(said["refused"])
        return Built(
            [load_file(out) for _, out in files], said["operators"], said["least"], said["numbers"], said["wide"]
        )

    def check(self, model: onnx.ModelProto, last: Sequence[str] = (), least_db: float = 110, **sizes: int) -> Built:
        """Build it, and compare it with ONNX Runtime for batches of 1 and 5 of a normal distribution."""
        batches = [inputs(model, {"N": batch} | sizes) for batch in BATCHES]
        built = self.build(model, [_moved(arrays, last, 1, -1) for arrays in batches], last)
        for arrays, outputs in zip(batches, built.outputs, strict=True):
            actual, expected = _moved(outputs, last, -1, 1), run_onnx(model, arrays)
            for name, value in expected.items():
                assert actual[name].shape == value.shape
                assert actual[name].dtype == value.dtype
                assert sqnr_db(actual[name].astype(np.float64), value.astype(np.float64)) >= least_db, name
        return built


def _moved(arrays: Arrays, names: Sequence[str], source: int, to: int) -> Arrays:
    return {name: np.moveaxis(value, source, to) if name in names else value for name, value in arrays.items()}


def run_onnx(model: onnx.ModelProto, arrays: Arrays) -> Arrays:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    names = [one.name for one in session.get_outputs()]
    return dict(zip(names, session.run(names, arrays), strict=True))


def inputs(model: onnx.ModelProto, sizes: Mapping[str, int]) -> Arrays:
    """Normal floats, and whole numbers from 0 to 2, of the model's inputs with its open axes settled."""
    random, found = np.random.default_rng(0), {}
    for one in model.graph.input:
        kind = one.type.tensor_type
        shape = [axis.dim_value or sizes.get(axis.dim_param, sizes["N"]) for axis in kind.shape.dim]
        dtype = helper.tensor_dtype_to_np_dtype(kind.elem_type)
        whole = np.issubdtype(dtype, np.integer)
        found[one.name] = random.integers(0, 3, shape).astype(dtype) if whole else random.normal(size=shape)
        found[one.name] = found[one.name].astype(dtype)
    return found


FOREIGN = ("worker",)


@pytest.fixture(scope="module")
def worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    chain = registry.find()["tensorflow"]
    chain.build()
    with chain.start(tmp_path_factory.mktemp("importer") / "log", [], {"TF_ENABLE_ONEDNN_OPTS": "1"}) as found:
        yield found


@pytest.fixture
def importer(worker: Worker, tmp_path: Path) -> Importer:
    return Importer(worker, tmp_path)


# -------------------------------------------------------------------------------------------------------- small graphs


def model_of(
    nodes: Sequence[onnx.NodeProto],
    given: Mapping[str, Dims],
    constants: Mapping[str, Any] | None = None,
    opset: int = 20,
    out: Dims | None = None,
    kinds: Mapping[str, int] | None = None,
) -> onnx.ModelProto:
    """A model whose output is `out`; inputs float32 but where `kinds` says otherwise."""
    kinds = kinds or {}
    graph = helper.make_graph(
        list(nodes),
        "small",
        [
            helper.make_tensor_value_info(name, kinds.get(name, TensorProto.FLOAT), shape)
            for name, shape in given.items()
        ],
        [helper.make_tensor_value_info("out", kinds.get("out", TensorProto.FLOAT), out)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in (constants or {}).items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


node = helper.make_node


def weights(*shape: int) -> Array:
    return np.random.default_rng(sum(shape)).normal(size=shape).astype(np.float32) / np.float32(
        np.prod(shape[1:]) ** 0.5
    )


def mobile_block() -> onnx.ModelProto:
    """Conv → hard-swish → Concat → squeeze and excite → residual → Conv."""
    nodes = [
        node("Conv", ["image", "stem", "bias"], ["a"], pads=[1, 1, 1, 1]),
        node("HardSwish", ["a"], ["b"]),
        node("Concat", ["b", "a"], ["c"], axis=1),
        node("GlobalAveragePool", ["c"], ["d"]),
        node("Conv", ["d", "squeeze"], ["e"]),
        node("Relu", ["e"], ["f"]),
        node("Conv", ["f", "excite"], ["g"]),
        node("HardSigmoid", ["g"], ["h"], alpha=1 / 6),
        node("Mul", ["h", "c"], ["i"]),
        node("Add", ["i", "c"], ["j"]),
        node("Conv", ["j", "last"], ["out"], strides=[2, 2]),
    ]
    constants = {
        "stem": weights(8, 3, 3, 3), "bias": weights(8), "squeeze": weights(4, 16, 1, 1),
        "excite": weights(16, 4, 1, 1), "last": weights(6, 16, 3, 3),
    }  # fmt: skip
    return model_of(nodes, {"image": ["N", 3, 9, 11]}, constants)


def convnext_block() -> onnx.ModelProto:
    """Conv → (N, H, W, C) → LayerNorm → MatMul → (N, C, H, W) → Conv: the two transpositions cancel."""
    nodes = [
        node("Conv", ["image", "stem"], ["a"], pads=[1, 1, 1, 1]),
        node("Transpose", ["a"], ["b"], perm=[0, 2, 3, 1]),
        node("LayerNormalization", ["b", "scale", "shift"], ["c"]),
        node("MatMul", ["c", "widen"], ["d"]),
        node("Transpose", ["d"], ["e"], perm=[0, 3, 1, 2]),
        node("Conv", ["e", "last"], ["out"]),
    ]
    constants = {
        "stem": weights(8, 3, 3, 3), "scale": weights(8), "shift": weights(8), "widen": weights(8, 12),
        "last": weights(6, 12, 3, 3),
    }  # fmt: skip
    return model_of(nodes, {"image": ["N", 3, 9, 11]}, constants)


def grouped_block() -> onnx.ModelProto:
    """Conv → group normalisation as PyTorch's exporter writes it → Conv."""
    nodes = [
        node("Conv", ["image", "stem"], ["a"], pads=[1, 1, 1, 1]),
        node("Reshape", ["a", "groups"], ["b"]),
        node("InstanceNormalization", ["b", "ones", "zeros"], ["c"]),
        node("Shape", ["a"], ["shape"]),
        node("Reshape", ["c", "shape"], ["d"]),
        node("Mul", ["d", "scale"], ["e"]),
        node("Conv", ["e", "last"], ["out"]),
    ]
    constants = {
        "stem": weights(8, 3, 3, 3), "groups": np.array([0, 2, -1]), "ones": np.ones(2, np.float32),
        "zeros": np.zeros(2, np.float32), "scale": weights(8, 1, 1), "last": weights(6, 8, 3, 3),
    }  # fmt: skip
    return model_of(nodes, {"image": ["N", 3, 20, 22]}, constants)


# -------------------------------------------------------------------------------------------------------- transposing


BLOCKS = {"mobile": mobile_block(), "convnext": convnext_block(), "grouped": grouped_block()}


@pytest.mark.parametrize("model", BLOCKS.values(), ids=BLOCKS)
def test_a_network_of_images_is_not_transposed(importer: Importer, model: onnx.ModelProto) -> None:
    built = importer.check(model, last=("image", "out"))
    assert "Transpose" not in built.operators


def test_groups_that_something_else_reads_stay_as_they_are(importer: Importer) -> None:
    model = grouped_block()
    model.graph.output.append(helper.make_tensor_value_info("c", TensorProto.FLOAT, None))
    assert importer.check(model, last=("image", "out")).operators["Transpose"] > 0


def test_a_slice_that_drops_an_axis_is_cut_and_reshaped(importer: Importer) -> None:
    """Neither XNNPACK nor the GPU delegate takes one that drops it."""
    nodes = [node("Gather", ["image", "second"], ["a"], axis=2), node("Relu", ["a"], ["out"])]
    built = importer.check(model_of(nodes, {"image": ["N", 3, 5, 7]}, {"second": np.array(1)}))
    assert built.operators["Reshape"] == built.operators["StridedSlice"] == 1


@pytest.mark.parametrize("more", [{}, {"output_padding": [1, 0, 1], "strides": [2, 3, 2]}, {"group": 2}])
def test_a_transposed_convolution_of_three_axes_is_one_that_tensorflow_js_has(
    importer: Importer, more: dict[str, Any]
) -> None:
    attributes = {"strides": [2, 2, 2], "pads": [1, 0, 1, 1, 2, 0]} | more
    nodes = [node("ConvTranspose", ["x", "weight"], ["out"], **attributes)]
    constants = {"weight": weights(4, 3, 3, 4, 2)}
    built = importer.check(model_of(nodes, {"x": ["N", 4, 4, 5, 3]}, constants), last=("x", "out"))
    assert "Conv3DBackpropInputV2" not in built.operators


def test_an_image_in_onnx_own_layout_is_transposed_once_each_way(importer: Importer) -> None:
    assert importer.check(mobile_block()).operators["Transpose"] == 2


@pytest.mark.parametrize("flatten", [node("Flatten", ["a"], ["b"]), node("Reshape", ["a", "shape"], ["b"])])
def test_an_image_is_flattened_in_onnx_order(importer: Importer, flatten: onnx.NodeProto) -> None:
    nodes = [node("Conv", ["image", "stem"], ["a"]), flatten, node("MatMul", ["b", "dense"], ["out"])]
    constants = {"stem": weights(4, 3, 3, 3), "dense": weights(4 * 3 * 5, 7), "shape": np.array([0, -1])}
    importer.check(model_of(nodes, {"image": ["N", 3, 5, 7]}, constants), last=("image",))


PHYSICAL = {
    "Softmax": [node("Softmax", ["a"], ["out"], axis=1)],
    "Softmax over width": [node("Softmax", ["a"], ["out"], axis=3)],
    "ReduceMean": [node("ReduceMean", ["a", "axis"], ["out"], keepdims=0)],
    "ArgMax": [node("ArgMax", ["a"], ["b"], axis=2, keepdims=0), node("Cast", ["b"], ["out"], to=TensorProto.FLOAT)],
    "Concat": [node("Concat", ["a", "a"], ["out"], axis=2)],
    "Split": [node("Split", ["a"], ["b", "c"], axis=3, num_outputs=2), node("Sub", ["b", "c"], ["out"])],
    "Slice": [node("Slice", ["a", "from", "to", "axis"], ["out"])],
    "Gather": [node("Gather", ["a", "places"], ["out"], axis=2)],
    "CumSum": [node("CumSum", ["a", "one"], ["out"])],
    "a constant of one column": [node("Mul", ["a", "column"], ["out"])],
    "a constant a channel": [node("Mul", ["a", "channel"], ["out"])],
    "Squeeze": [node("ReduceMax", ["a", "axis"], ["b"]), node("Squeeze", ["b", "axis"], ["out"])],
    "Unsqueeze": [node("Unsqueeze", ["a", "one"], ["b"]), node("ReduceSum", ["b", "axis"], ["out"])],
    "a product with its transpose": [
        node("Transpose", ["a"], ["b"], perm=[0, 1, 3, 2]), node("MatMul", ["a", "b"], ["out"]),
    ],
}  # fmt: skip


@pytest.mark.parametrize("kind", PHYSICAL)
def test_an_axis_is_onnx_own_however_the_image_is_stored(importer: Importer, kind: str) -> None:
    constants = {
        "stem": weights(6, 6, 3, 3), "axis": np.array([2]), "one": np.array([1]), "from": np.array([1]),
        "to": np.array([4]), "places": np.array([[3, 0], [-1, 2]]), "column": weights(1, 1, 6, 1),
        "channel": weights(6, 1, 1),
    }  # fmt: skip
    nodes = [node("Conv", ["image", "stem"], ["a"], pads=[1, 1, 1, 1]), *PHYSICAL[kind]]
    importer.check(model_of(nodes, {"image": ["N", 6, 6, 6]}, constants), last=("image",))


# ------------------------------------------------------------------------------------------------------------- shapes


def test_arithmetic_on_shapes_is_not_in_the_graph_where_the_batch_alone_is_open(importer: Importer) -> None:
    nodes = [
        node("Shape", ["x"], ["shape"]),
        node("Gather", ["shape", "zero"], ["batch"]),
        node("Gather", ["shape", "two"], ["width"]),
        node("Div", ["width", "two"], ["half"]),
        node("Unsqueeze", ["batch", "front"], ["batch1"]),
        node("Unsqueeze", ["half", "front"], ["half1"]),
        node("Concat", ["batch1", "minus", "half1"], ["wanted"], axis=0),
        node("Reshape", ["x", "wanted"], ["split"]),
        node("Concat", ["batch1", "whole"], ["back"], axis=0),
        node("Reshape", ["split", "back"], ["again"]),
        node("Concat", ["batch1", "wide"], ["repeated"], axis=0),
        node("Unsqueeze", ["again", "one"], ["row"]),
        node("Expand", ["row", "repeated"], ["out"]),
    ]
    constants = {
        "zero": np.array(0), "two": np.array(2), "front": np.array([0]), "minus": np.array([-1]), "one": np.array([1]),
        "whole": np.array([4, 6]), "wide": np.array([3, 4, 6]),
    }  # fmt: skip
    built = importer.check(model_of(nodes, {"x": ["N", 4, 6]}, constants))
    assert not {"Shape", "Pack", "StridedSlice", "Gather", "GatherV2", "ConcatV2"} & set(built.operators)


def test_a_token_is_repeated_for_every_sample(importer: Importer) -> None:
    nodes = [
        node("Shape", ["x"], ["batch"], start=0, end=1),
        node("Concat", ["batch", "rest"], ["wanted"], axis=0),
        node("Expand", ["token", "wanted"], ["tokens"]),
        node("Concat", ["tokens", "x"], ["out"], axis=1),
    ]
    constants = {"rest": np.array([1, 6]), "token": weights(1, 1, 6)}
    importer.check(model_of(nodes, {"x": ["N", 4, 6]}, constants))


def test_height_and_width_may_be_open(importer: Importer) -> None:
    nodes = [
        node("Conv", ["image", "stem", "bias"], ["a"], strides=[2, 2], pads=[1, 1, 1, 1]),
        node("Relu", ["a"], ["b"]),
        node("GlobalAveragePool", ["b"], ["c"]),
        node("Flatten", ["c"], ["out"]),
    ]
    constants = {"stem": weights(8, 3, 3, 3), "bias": weights(8)}
    model = model_of(nodes, {"image": ["N", 3, "H", "W"]}, constants)
    for height, width in ((8, 9), (17, 12)):
        importer.check(model, last=("image",), H=height, W=width)


def test_a_pooling_that_rounds_up_names_the_tensor_whose_size_is_open(importer: Importer) -> None:
    pool = node("AveragePool", ["image"], ["out"], kernel_shape=[2, 2], strides=[3, 3], ceil_mode=1)
    model = model_of([pool], {"image": ["N", 3, "H", "W"]})
    with pytest.raises(Refusal, match=r"AveragePool of opset 20: axis 2 of image, .* is dynamic"):
        importer.build(model, [])


OPEN = {
    "maxima in pairs, rounded up": [
        node("MaxPool", ["image"], ["out"], kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1)
    ],
    "maxima of three, rounded up": [
        node("MaxPool", ["image"], ["out"], kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1)
    ],
    "maxima of three, padded and rounded up": [
        node("MaxPool", ["image"], ["out"], kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1], ceil_mode=1)
    ],
    "transposed, twice as large": [node("ConvTranspose", ["image", "two"], ["out"], strides=[2, 2])],
    "transposed, padded": [
        node("ConvTranspose", ["image", "three"], ["out"], strides=[2, 2], pads=[1, 1, 1, 1], output_padding=[1, 1])
    ],
    "transposed, uneven": [
        node("ConvTranspose", ["image", "three"], ["out"], strides=[3, 1], pads=[0, 1, 1, 0], output_padding=[2, 0])
    ],
    "transposed, of SAME": [node("ConvTranspose", ["image", "three"], ["out"], strides=[2, 2], auto_pad="SAME_UPPER")],
}
"""Operators whose results are as large as the image, which may have any size."""


@pytest.mark.parametrize("kind", OPEN)
def test_an_operator_counts_windows_of_an_image_of_any_size(importer: Importer, kind: str) -> None:
    constants = {"two": weights(3, 4, 2, 2), "three": weights(3, 4, 3, 3)}
    model = model_of(OPEN[kind], {"image": ["N", 3, "H", "W"]}, constants)
    for height, width in ((8, 9), (17, 12)):
        importer.check(model, last=("image", "out"), H=height, W=width)


RESIZED: list[dict[str, Any]] = [
    {"mode": "linear", "coordinate_transformation_mode": way}
    for way in ("half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric")
] + [
    {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"},
    {"mode": "nearest", "coordinate_transformation_mode": "half_pixel", "nearest_mode": "round_prefer_ceil"},
    {"mode": "nearest", "coordinate_transformation_mode": "half_pixel", "nearest_mode": "round_prefer_floor"},
    {"mode": "nearest", "coordinate_transformation_mode": "align_corners", "nearest_mode": "ceil"},
    {"mode": "cubic", "coordinate_transformation_mode": "pytorch_half_pixel"},
    {"mode": "cubic", "coordinate_transformation_mode": "half_pixel", "exclude_outside": 1},
    {"mode": "cubic", "coordinate_transformation_mode": "align_corners"},
]
"""Ways of resizing, for images of which the running model alone knows the size."""


def named(way: Mapping[str, Any]) -> str:
    return " ".join(str(part) for part in way.values())


@pytest.mark.parametrize("way", RESIZED, ids=named)
@pytest.mark.parametrize("scale", [2.0, 3.0, 0.5, 1.5])
def test_an_image_of_any_size_is_resized_by_a_scale(importer: Importer, way: dict[str, Any], scale: float) -> None:
    nodes = [node("Resize", ["image", "", "scales"], ["out"], **way)]
    constants = {"scales": np.array([1, 1, scale, scale], np.float32)}
    model = model_of(nodes, {"image": ["N", 3, "H", "W"]}, constants)
    for height, width in ((8, 10), (17, 3)):
        importer.check(model, last=("image", "out"), H=height, W=width)


@pytest.mark.parametrize("way", RESIZED, ids=named)
@pytest.mark.parametrize("scale", [0.5, 1.5])
def test_an_image_of_odd_sizes_is_resized_by_a_scale(importer: Importer, way: dict[str, Any], scale: float) -> None:
    nodes = [node("Resize", ["image", "", "scales"], ["out"], **way)]
    constants = {"scales": np.array([1, 1, scale, scale], np.float32)}
    importer.check(model_of(nodes, {"image": ["N", 3, 17, 3]}, constants), last=("image", "out"))


@pytest.mark.parametrize("way", RESIZED, ids=named)
def test_an_image_of_any_size_is_resized_to_another_one(importer: Importer, way: dict[str, Any]) -> None:
    nodes = [
        node("Shape", ["skip"], ["size"], start=2),
        node("Shape", ["image"], ["first"], end=2),
        node("Concat", ["first", "size"], ["sizes"], axis=0),
        node("Resize", ["image", "", "", "sizes"], ["out"], **way),
    ]
    model = model_of(nodes, {"image": ["N", 3, "H", "W"], "skip": ["N", 3, "A", "B"]})
    for sizes in (
        {"H": 8, "W": 9, "A": 16, "B": 18},
        {"H": 5, "W": 6, "A": 9, "B": 4},
        {"H": 7, "W": 7, "A": 1, "B": 7},
    ):
        importer.check(model, last=("image", "skip", "out"), **sizes)


@pytest.mark.parametrize(
    "way",
    [
        {"mode": "linear", "antialias": 1},
        {"mode": "linear", "keep_aspect_ratio_policy": "not_larger"},
        {"mode": "linear", "coordinate_transformation_mode": "half_pixel_symmetric"},
    ],
    ids=named,
)
def test_a_resizing_to_an_open_size_that_is_not_there_says_which(importer: Importer, way: dict[str, Any]) -> None:
    nodes = [
        node("Shape", ["skip"], ["size"], start=2),
        node("Resize", ["image", "", "", "size"], ["out"], axes=[2, 3], **way),
    ]
    model = model_of(nodes, {"image": ["N", 3, "H", "W"], "skip": ["N", 3, "A", "B"]})
    what = "antialias" if "antialias" in way else list(way.values())[-1]
    with pytest.raises(Refusal, match=rf"Resize of opset 20: {what}, where a size depends on the input"):
        importer.build(model, [])


def test_the_inputs_of_a_recurrent_network_are_one_product_and_its_weights_one_constant(importer: Importer) -> None:
    steps, hidden = 7, 8
    recurrent = node("LSTM", ["x", "w", "r", "b"], ["out"], hidden_size=hidden, direction="bidirectional")
    constants = {"w": weights(2, 4 * hidden, 3), "r": weights(2, 4 * hidden, hidden), "b": weights(2, 8 * hidden)}
    built = importer.check(model_of([recurrent], {"x": [steps, "N", 3]}, constants))
    assert built.operators["MatMul"] == 2 * (1 + steps)
    assert built.numbers < 1.5 * sum(value.size for value in constants.values())


# ------------------------------------------------------------------------------------------------------- old operators

OLD: dict[str, tuple[list[onnx.NodeProto], int]] = {
    "Softmax": ([node("Softmax", ["x"], ["out"], axis=1)], 12),
    "LogSoftmax": ([node("LogSoftmax", ["x"], ["out"], axis=2)], 12),
    "Squeeze": ([node("ReduceMean", ["x"], ["a"], axes=[2]), node("Squeeze", ["a"], ["out"], axes=[2])], 12),
    "Unsqueeze": ([node("Unsqueeze", ["x"], ["out"], axes=[1, 4])], 12),
    "ReduceSum": ([node("ReduceSum", ["x"], ["out"], axes=[1, -1], keepdims=0)], 12),
    "Clip": ([node("Clip", ["x"], ["out"], min=-0.5, max=0.25)], 10),
    "Clip to 6": ([node("Clip", ["x"], ["out"], min=0.0, max=6.0)], 10),
    "Pad": ([node("Pad", ["x"], ["out"], pads=[0, 0, 1, 2, 0, 0, 3, 0], value=0.5)], 10),
    "Pad by reflection": ([node("Pad", ["x"], ["out"], mode="reflect", pads=[0, 0, 1, 2, 0, 0, 3, 0])], 10),
    "Slice": ([node("Slice", ["x"], ["out"], starts=[1, -3], ends=[9, -1], axes=[1, 3])], 9),
    "Upsample": ([node("Upsample", ["x", "scales"], ["out"], mode="nearest")], 9),
    "Upsample between pixels": ([node("Upsample", ["x", "scales"], ["out"], mode="linear")], 9),
    "Split": ([node("Split", ["x"], ["one", "two"], axis=1, split=[1, 2]), node("Mul", ["one", "two"], ["out"])], 12),
    "Dropout": ([node("Dropout", ["x"], ["out"], ratio=0.5)], 11),
    "BatchNormalization": ([node("BatchNormalization", ["x", "g", "b", "m", "v"], ["out"])], 9),
    "TopK": ([node("TopK", ["x"], ["out", "places"], k=2, axis=3)], 9),
}


@pytest.mark.parametrize("kind", OLD)
@pytest.mark.parametrize("last", [(), ("x",)], ids=["first", "last"])
def test_an_operator_of_an_older_opset_means_what_it_meant(importer: Importer, kind: str, last: Sequence[str]) -> None:
    nodes, opset = OLD[kind]
    constants = {
        "scales": np.array([1, 1, 2, 3], np.float32), "g": weights(3), "b": weights(3), "m": weights(3),
        "v": np.array([0.5, 1, 2], np.float32),
    }  # fmt: skip
    used = {name: value for name, value in constants.items() if any(name in one.input for one in nodes)}
    importer.check(model_of(nodes, {"x": ["N", 3, 4, 5]}, used, opset), last)


def test_operators_that_are_not_there_are_all_named_with_their_module(importer: Importer) -> None:
    nodes = [
        node("NonZero", ["x"], ["a"]),
        node("Stranger", ["a"], ["b"], domain="com.other"),
        node("Relu", ["b"], ["out"]),
    ]
    name = "['', 'encoder.layers.3', 'nonzero']"
    nodes[0].metadata_props.add(key="pkg.torch.onnx.name_scopes", value=name)
    model = model_of(nodes, {"x": ["N", 3, 3]})
    model.opset_import.append(helper.make_opsetid("com.other", 1))
    with pytest.raises(Refusal) as refusal:
        importer.build(model, [])
    said = str(refusal.value)
    assert "NonZero (in module encoder.layers.3)" in said
    assert "com.other.Stranger" in said
    assert "opset 20" in said


# ------------------------------------------------------------------------------------------------------------ numbers

NORMALISATIONS: dict[str, list[onnx.NodeProto]] = {
    "LayerNormalization": [node("LayerNormalization", ["x", "row"], ["out"])],
    "InstanceNormalization": [node("InstanceNormalization", ["x", "one", "none"], ["out"])],
    "GroupNormalization": [node("GroupNormalization", ["x", "one", "none"], ["out"], num_groups=2)],
}


def normalised(rows: Array, one_pass: bool) -> Array:
    """Each row, in its own type."""
    mean = rows.mean(-1, keepdims=True)
    variance = (rows * rows).mean(-1, keepdims=True) - mean * mean if one_pass else rows.var(-1, keepdims=True)
    return np.asarray((rows - mean) / np.sqrt(variance + rows.dtype.type(1e-5)))


@pytest.mark.parametrize("last", [(), ("x", "out")], ids=["first", "last"])
@pytest.mark.parametrize("kind", NORMALISATIONS)
def test_a_variance_far_from_zero_is_exact(importer: Importer, kind: str, last: Sequence[str]) -> None:
    """Of numbers around 1,000 with deviation 1 it is a hundred times nearer than in one pass, E[x²] − E[x]²."""
    constants = {"row": np.ones(16, np.float32), "one": np.ones(4, np.float32), "none": np.zeros(4, np.float32)}
    nodes = NORMALISATIONS[kind]
    used = {name: value for name, value in constants.items() if name in nodes[0].input}
    model = model_of(nodes, {"x": ["N", 4, 8, 16]}, used, opset=21)
    x = (1000 + np.random.default_rng(0).normal(size=(5, 4, 8, 16))).astype(np.float32)
    outputs = importer.build(model, [_moved({"x": x}, last, 1, -1)], last).outputs[0]
    shape = {"LayerNormalization": (5, 4, 8, 16), "InstanceNormalization": (5, 4, -1), "GroupNormalization": (5, 2, -1)}
    rows = x.reshape(shape[kind])
    exact, near = normalised(rows.astype(np.float64), one_pass=False), normalised(rows, one_pass=True)
    actual = _moved(outputs, last, -1, 1)["out"].reshape(rows.shape).astype(np.float64)
    assert sqnr_db(actual, exact) > 40 + sqnr_db(near.astype(np.float64), exact)


def test_mish_keeps_its_digits_from_minus_40_to_40(importer: Importer) -> None:
    x = np.linspace(-40, 40, 4001, dtype=np.float32)[None]
    model = model_of([node("Mish", ["x"], ["out"])], {"x": ["N", 4001]})
    actual = importer.build(model, [{"x": x}]).outputs[0]["out"]
    wide = x.astype(np.float64)
    power = np.exp(wide)
    exact = wide * power * (power + 2) / (power * (power + 2) + 2)
    np.testing.assert_allclose(actual, exact, rtol=1e-6, atol=0)


def gelu_network() -> onnx.ModelProto:
    """MatMul → bias → GELU, as PyTorch's exporters write it out → MatMul: what oneDNN makes an operator of its own."""
    nodes = [
        node("MatMul", ["x", "first"], ["a"]),
        node("Add", ["a", "bias"], ["b"]),
        node("Mul", ["b", "root"], ["c"]),
        node("Erf", ["c"], ["d"]),
        node("Add", ["d", "one"], ["e"]),
        node("Mul", ["b", "half"], ["f"]),
        node("Mul", ["f", "e"], ["g"]),
        node("MatMul", ["g", "second"], ["out"]),
    ]
    numbers = {"root": 0.5**0.5, "one": 1.0, "half": 0.5}
    constants = {"first": weights(64, 96), "second": weights(96, 32), "bias": weights(96)}
    return model_of(nodes, {"x": ["N", 64]}, constants | {name: np.float32(one) for name, one in numbers.items()})


def gelu_operator() -> onnx.ModelProto:
    """The same with GELU as one operator."""
    nodes = [
        node("MatMul", ["x", "first"], ["a"]), node("Add", ["a", "bias"], ["b"]), node("Gelu", ["b"], ["c"]),
        node("MatMul", ["c", "second"], ["out"]),
    ]  # fmt: skip
    constants = {"first": weights(64, 96), "second": weights(96, 32), "bias": weights(96)}
    return model_of(nodes, {"x": ["N", 64]}, constants)


@pytest.mark.slow
@pytest.mark.parametrize("onednn", ["0", "1"])
def test_gelu_is_exact_with_onednn_and_without(tmp_path: Path, onednn: str) -> None:
    chain = registry.find()["tensorflow"]
    chain.build()
    with chain.start(tmp_path / "log", [], {"TF_ENABLE_ONEDNN_OPTS": onednn}) as found:
        for model in (gelu_network(), gelu_operator()):
            Importer(found, tmp_path).check(model, least_db=110)


# ------------------------------------------------------------------------------------------------------------ pooling

POOLINGS: dict[str, dict[str, Any]] = {
    "padded": {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]},
    "at one end": {"kernel_shape": [2, 2], "pads": [0, 0, 1, 1]},
    "rounded up": {"kernel_shape": [3, 3], "strides": [2, 2], "ceil_mode": 1},
    "rounded up and padded": {"kernel_shape": [3, 3], "strides": [2, 2], "ceil_mode": 1, "pads": [1, 1, 1, 1]},
    "to the same size": {"kernel_shape": [3, 3], "strides": [2, 2], "auto_pad": "SAME_LOWER"},
    "with gaps": {"kernel_shape": [3, 3], "dilations": [2, 2], "pads": [2, 1, 2, 1]},
}


@pytest.mark.parametrize("kind", POOLINGS)
@pytest.mark.parametrize("first", ["Conv", "Relu"])
def test_what_stands_around_a_maximum_is_no_number_of_its_own(importer: Importer, kind: str, first: str) -> None:
    """Part of an integer range, minus infinity would leave one step of 10³⁶."""
    nodes = [node("Conv", ["image", "stem"], ["a"]), node("Relu", ["a"], ["b"])]
    pool = node("MaxPool", ["a" if first == "Conv" else "b"], ["out"], **POOLINGS[kind])
    model = model_of([*nodes, pool], {"image": ["N", 3, 10, 12]}, {"stem": -np.abs(weights(4, 3, 3, 3))})
    built = importer.check(model, last=("image", "out"))
    assert built.least > -1e30


@pytest.mark.parametrize("kind", POOLINGS)
@pytest.mark.parametrize("include", [0, 1])
def test_a_mean_counts_what_onnx_counts(importer: Importer, kind: str, include: int) -> None:
    pool = node("AveragePool", ["image"], ["out"], count_include_pad=include, **POOLINGS[kind])
    importer.check(model_of([pool], {"image": ["N", 3, 10, 12]}), last=("image", "out"))


# ------------------------------------------------------------------------------------------------- integers, branches


def test_int64_is_at_the_border_only(importer: Importer) -> None:
    nodes = [
        node("Gather", ["table", "tokens"], ["a"]),
        node("ReduceMean", ["a", "axis"], ["b"], keepdims=0),
        node("ArgMax", ["b"], ["c"], axis=1, keepdims=0),
        node("Add", ["c", "one"], ["out"]),
    ]
    kinds = {"tokens": TensorProto.INT64, "out": TensorProto.INT64}
    constants = {"table": weights(3, 8), "axis": np.array([1]), "one": np.array([1])}
    built = importer.check(model_of(nodes, {"tokens": ["N", 6]}, constants, kinds=kinds))
    assert sorted(built.wide) == ["Cast", "Identity", "Placeholder"]  # the input, and the output that is returned


@pytest.mark.parametrize("condition", [True, False])
def test_of_two_branches_the_one_that_is_taken_is_built(importer: Importer, condition: bool) -> None:
    def branch(kind: str, number: float) -> onnx.GraphProto:
        constant = numpy_helper.from_array(np.array(number, np.float32), f"{kind}.inside")
        found = helper.make_tensor_value_info(f"{kind}.out", TensorProto.FLOAT, None)
        own = node("Constant", [], [f"{kind}.nested"], value_float=number)
        sums = [
            node(kind, ["x", f"{kind}.inside"], [f"{kind}.a"]),
            node(kind, [f"{kind}.a", f"{kind}.nested"], [f"{kind}.out"]),
        ]
        return helper.make_graph([own, *sums], kind, [], [found], [constant])

    chosen = node("If", ["condition"], ["a"], then_branch=branch("Mul", 3.0), else_branch=branch("Add", 2.0))
    model = model_of([chosen, node("Relu", ["a"], ["out"])], {"x": ["N", 4]}, {"condition": np.array(condition)})
    built = importer.check(model)
    assert ("Mul" in built.operators) is condition
    assert "If" not in built.operators


def test_a_condition_that_depends_on_the_input_is_refused(importer: Importer) -> None:
    branch = helper.make_graph(
        [node("Relu", ["x"], ["inner"])], "b", [], [helper.make_tensor_value_info("inner", TensorProto.FLOAT, None)]
    )
    nodes = [
        node("ReduceMax", ["x"], ["greatest"], keepdims=0),
        node("Greater", ["greatest", "zero"], ["condition"]),
        node("If", ["condition"], ["out"], then_branch=branch, else_branch=branch),
    ]
    with pytest.raises(Refusal, match="If of opset 20: its branches depend on the input"):
        importer.build(model_of(nodes, {"x": ["N", 4]}, {"zero": np.float32(0)}), [])


# ------------------------------------------------------------------------------------------------ PyTorch's exporters


class Attention(nn.Module):
    """Pixels that look at each other, in as many tokens as each is wide."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 3, stride=2, padding=1)
        self.project = nn.Linear(16, 48)
        self.norm = nn.LayerNorm(16)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, 3, 8, 8) → (N, 16)."""
        tokens = self.stem(x).flatten(2).transpose(1, 2)
        query, key, value = self.project(tokens).view(-1, 16, 3, 4, 4).permute(2, 0, 3, 1, 4)  # (N, 4 heads, 16, 4)
        seen = (query @ key.transpose(2, 3) / 2).softmax(3) @ value
        mixed: torch.Tensor = self.norm(tokens + seen.transpose(1, 2).flatten(2))
        return mixed.mean(1)


class Pyramid(nn.Module):
    """Down by pooling that rounds up, up again, and beside what it was."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.GroupNorm(2, 8), nn.Hardswish())
        self.down = nn.Sequential(nn.MaxPool2d(3, 2, ceil_mode=True), nn.Conv2d(8, 8, 3, padding=1, groups=8))
        self.up = nn.Upsample(size=(8, 8), mode="bilinear", align_corners=False)
        self.head = nn.Linear(16 * 4, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, 3, 8, 8) → (N, 5)."""
        wide = self.stem(x)
        both = torch.cat([wide, self.up(self.down(wide))], 1)
        logits: torch.Tensor = self.head(nn.functional.adaptive_avg_pool2d(both, 2).flatten(1))
        return logits.log_softmax(1)


class Shuffle(nn.Module):
    """Halves, of which one is worked on, with the channels dealt out anew."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.work = nn.Sequential(nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4), nn.PReLU(4))
        self.rows = nn.GRU(8 * 8, 6, batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, 3, 8, 8) → (N, 6)."""
        left, right = self.stem(x).chunk(2, 1)
        both = torch.cat([left, self.work(right)], 1)
        mixed = both.view(-1, 2, 4, 8, 8).transpose(1, 2).reshape(-1, 8, 8, 8)
        rows = mixed.permute(0, 2, 1, 3).flatten(2)  # (N, 8 rows, 64)
        states: torch.Tensor = self.rows(nn.functional.pad(rows, (0, 0, 1, 0)))[0]
        return states[:, -1]


def exported(module: nn.Module, path: Path, dynamo: bool) -> onnx.ModelProto:
    """By PyTorch's newer exporter, or by the older one in opset 12; of an open batch."""
    torch.manual_seed(0)
    example = torch.rand(2, 3, 8, 8)
    if dynamo:
        shapes = ({0: torch.export.Dim("N")},)
        torch.onnx.export(
            module.eval(), (example,), path, dynamo=True, dynamic_shapes=shapes, input_names=["image"],
            verbose=False, external_data=False,
        )  # fmt: skip
    else:
        torch.onnx.export(
            module.eval(), (example,), path, dynamo=False, opset_version=12, input_names=["image"],
            dynamic_axes={"image": {0: "N"}},
        )  # fmt: skip
    return onnx.load(path)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("dynamo", [True, False], ids=["dynamo", "opset 12"])
@pytest.mark.parametrize("make", [Attention, Pyramid, Shuffle])
def test_what_pytorch_exports_is_right(
    importer: Importer, tmp_path: Path, make: Callable[[], nn.Module], dynamo: bool
) -> None:
    importer.check(exported(make(), tmp_path / "exported.onnx", dynamo), last=("image",))
