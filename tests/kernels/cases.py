"""Operators of TensorFlow that our graphs hold, each with several shapes, ranks and batches, as data.

    cases = table()

A case is one operator, its inputs and its attributes. What a graph holds as a constant (an axis, a shape, a kernel) is
`Fixed`; all else is fed, so that nothing folds the operator away.
"""

import base64
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from records.tensor import Array


@dataclass(frozen=True)
class Fixed:
    """An input that is a constant of the graph."""

    value: Array


@dataclass(frozen=True)
class Case:
    """One operator with its inputs. A list stands for an input that takes several tensors."""

    op: str
    inputs: tuple[Any, ...]
    attributes: dict[str, Any] = field(default_factory=dict)
    note: str = ""

    @property
    def name(self) -> str:
        """What tells it from all others: `GatherV2 (2, 5) (2, 3) [1] batch_dims=1`."""
        words = [self.op, *(_told(one) for one in self.inputs)]
        words += [f"{key}={_word(value)}" for key, value in self.attributes.items()]
        return " ".join([*words, self.note]).strip()

    def record(self) -> dict[str, Any]:
        """The case in JSON."""
        return {
            "name": self.name,
            "op": self.op,
            "inputs": [[_record(x) for x in one] if isinstance(one, list) else _record(one) for one in self.inputs],
            "attributes": self.attributes,
        }


def _told(given: Any) -> str:
    if isinstance(given, list):
        return "+".join(map(_told, given))
    if isinstance(given, Fixed):
        value = given.value
        return (
            str(value.tolist()).replace(" ", "")
            if value.dtype == np.int32 and value.size < 13
            else f"{{{_told(value)}}}"
        )
    kind = {"int32": "i", "bool": "b"}.get(given.dtype.name, "")
    return f"{kind}({','.join(map(str, given.shape))})"


def _word(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


def _record(given: Any) -> dict[str, Any]:
    value = given.value if isinstance(given, Fixed) else given
    return {"fixed": isinstance(given, Fixed), **encode(value)}


def encode(value: Array) -> dict[str, Any]:
    """An array in JSON, bit by bit."""
    data = base64.b64encode(np.ascontiguousarray(value).tobytes()).decode()
    return {"dtype": value.dtype.name, "shape": list(value.shape), "data": data}


def floats(*shape: int, low: float = -2, high: float = 2) -> Array:
    """Numbers that differ, the same at every call."""
    random = np.random.default_rng(zlib.crc32(repr(shape).encode()))
    return random.uniform(low, high, shape).astype(np.float32)


def whole(*shape: int, low: int = 0, high: int = 5) -> Array:
    """Whole numbers, `high` left out."""
    return np.random.default_rng(zlib.crc32(repr(shape).encode())).integers(low, high, shape).astype(np.int32)


def flags(*shape: int) -> Array:
    """True and false."""
    return whole(*shape, high=2).astype(bool)


def ints(*values: int) -> Fixed:
    """A constant vector."""
    return Fixed(np.array(values, np.int32))


def number(value: int) -> Fixed:
    """A constant without an axis."""
    return Fixed(np.array(value, np.int32))


DOMAINS: dict[str, tuple[float, float]] = {
    **dict.fromkeys(["Acos", "Asin", "Atanh"], (-0.95, 0.95)),
    **dict.fromkeys(["Log", "Sqrt", "Rsqrt", "Reciprocal"], (0.05, 4)),
    "Acosh": (1.05, 4),
    "Log1p": (-0.9, 4),
    "Tan": (-1.2, 1.2),
    "Relu6": (-9, 9),
    "Softplus": (-30, 30),
    "Sigmoid": (-30, 30),
    "Tanh": (-30, 30),
}
UNARY = (
    *("Abs", "Acos", "Acosh", "Asin", "Asinh", "Atan", "Atanh", "Ceil", "Cos", "Cosh", "Elu", "Erf", "Exp", "Expm1"),
    *("Floor", "Identity", "IsFinite", "IsInf", "IsNan", "Log", "Log1p", "Neg", "Reciprocal", "Relu", "Relu6", "Round"),
    *("Rsqrt", "Selu", "Sigmoid", "Sign", "Sin", "Sinh", "Softplus", "Sqrt", "Square", "Tan", "Tanh", "OnesLike"),
    "ZerosLike",
)


def unary() -> Iterator[Case]:
    """Of one tensor, element by element."""
    for op in UNARY:
        low, high = DOMAINS.get(op, (-2.5, 2.5))
        for shape in ((1, 7), (5, 2, 3, 4), (2, 2, 3, 1, 2, 2)):
            yield Case(op, (floats(*shape, low=low, high=high),))
    special = np.array([[0, -0.0, np.inf, -np.inf, np.nan, 1e-30, 3e38, 0.5, 1.5, 2.5, -0.5, -1.5]], np.float32)
    for op in ("IsNan", "IsInf", "IsFinite", "Relu", "Relu6", "Sign", "Round", "Floor", "Ceil", "Abs", "Neg"):
        yield Case(op, (special,), note="special")
    large = np.array([[-90, -20, 0, 20, 90]], np.float32)
    for op in ("Sigmoid", "Tanh", "Softplus", "Elu", "Selu", "Erf"):
        yield Case(op, (large,), note="large")
    for op in ("Abs", "Neg", "Square", "Sign", "Identity", "Relu"):
        yield Case(op, (whole(2, 3, 4, low=-3),), note="whole numbers")
    for alpha in (0.01, 0.3):
        for shape in ((2, 7), (5, 2, 3, 4)):
            yield Case("LeakyRelu", (floats(*shape),), {"alpha": alpha})
    yield Case("Exp", (floats(),))
    for shape in ((1, 7), (5, 2, 3, 4)):
        yield Case("ClipByValue", (floats(*shape), Fixed(np.float32(-1)), Fixed(np.float32(0.5))))
        yield Case("LogicalNot", (flags(*shape),))


BINARY = (
    *("AddV2", "Sub", "Mul", "RealDiv", "FloorDiv", "FloorMod", "Maximum", "Minimum", "SquaredDifference", "Atan2"),
    *("DivNoNan", "Equal", "NotEqual", "Greater", "GreaterEqual", "Less", "LessEqual", "Pow"),
)
PAIRS: tuple[tuple[tuple[int, ...], tuple[int, ...]], ...] = (
    ((1, 3, 4), (1, 3, 4)),
    ((5, 1, 4), (3, 1)),
    ((2, 3, 4), ()),
    ((1,), (2, 3, 4)),
    ((2, 2, 3, 1, 2), (3, 4, 1)),
    ((5, 2, 3, 2, 1, 2), (1, 3, 1, 4, 1)),
    ((2, 2, 3, 2, 4), (4,)),
)
WHOLE = ("AddV2", "Sub", "Mul", "FloorDiv", "FloorMod", "Maximum", "Minimum", "Equal", "Less", "GreaterEqual", "Pow")


def binary() -> Iterator[Case]:
    """Of two tensors, with broadcasting."""
    for op in BINARY:
        for first, second in PAIRS:
            low = 0.1 if op == "Pow" else -2
            one, other = floats(*first, low=low), floats(*second) + 0.3
            if op.endswith(("qual", "Less", "Greater")):
                one, other = np.round(one), np.round(other)
            yield Case(op, (one, other))
    for op in WHOLE:
        for first, second in PAIRS[:3]:
            least = 0 if op == "Pow" else -7
            yield Case(op, (whole(*first, low=least, high=8), whole(*second, low=1, high=4)))
    yield Case("FloorDiv", (whole(2, 9, low=-9, high=9), number(-4)))
    yield Case("FloorMod", (whole(2, 9, low=-9, high=9), number(-4)))
    yield Case("FloorMod", (floats(2, 9, low=-9, high=9), Fixed(np.float32(-4))))
    yield Case("Pow", (floats(2, 5), Fixed(np.float32(2))))
    yield Case("Pow", (floats(2, 5), Fixed(np.float32(3))), note="of negative numbers")
    for op in ("LogicalAnd", "LogicalOr"):
        for first, second in PAIRS[:5]:
            yield Case(op, (flags(*first), flags(*second)))
    selections: tuple[tuple[tuple[int, ...], ...], ...] = (
        ((2, 3, 4), (2, 3, 4), (2, 3, 4)),
        ((5, 1, 1), (5, 3, 4), (5, 3, 4)),
        ((1, 3, 1), (5, 3, 4), ()),
        ((5, 3, 4), (), (1, 3, 4)),
        ((2, 1, 3, 1, 1), (1, 2, 3, 2, 2), (2, 2, 3, 2, 2)),
        ((), (2, 3), (2, 3)),
    )
    for condition, first, second in selections:
        yield Case("SelectV2", (flags(*condition), floats(*first), floats(*second) + 1))
    yield Case("SelectV2", (flags(2, 3, 4), whole(2, 3, 4), whole(2, 3, 4, low=5, high=9)))


TYPES = {"float32": 1, "int32": 3, "bool": 10}
"""Of an array → TensorFlow's number of it."""


def casts() -> Iterator[Case]:
    """From every type to every other."""
    for value in (
        floats(5, 2, 3),
        np.array([[-1.7, -0.2, 0.9, 2.5, 1e6]], np.float32),
        whole(2, 4, low=-2),
        flags(1, 5),
        256 * whole(2, 3),
    ):
        for kind in TYPES:
            if kind != value.dtype.name:
                yield Case("Cast", (value,), {"DstT": TYPES[kind]})


AXES: tuple[tuple[tuple[int, ...], tuple[int, ...]], ...] = (
    ((1, 7), (1,)),
    ((5, 3, 4), (0,)),
    ((5, 3, 4), (1,)),
    ((2, 3, 4, 5), (1, 2)),
    ((2, 3, 4, 5), (-1,)),
    ((2, 3, 4, 5), (0, 3)),
    ((2, 2, 3, 2, 3, 2), (1, 3, 5)),
    ((5, 2, 3), (0, 1, 2)),
)


def reductions() -> Iterator[Case]:
    """Over one or several axes."""
    for op in ("Sum", "Mean", "Prod", "Max", "Min"):
        for at, (shape, axes) in enumerate(AXES):
            yield Case(op, (floats(*shape), ints(*axes)), {"keep_dims": at % 2 == 0})
        yield Case(op, (floats(2, 3, 4), number(-2)), {"keep_dims": True})
    for op in ("Sum", "Mean", "Max"):
        yield Case(op, (floats(2, 1000), ints(1)), {"keep_dims": False})
        yield Case(op, (floats(2, 28, 28, 8), ints(1, 2)), {"keep_dims": False})
        yield Case(op, (floats(2, 49, 64), ints(2)), {"keep_dims": True})
    for op in ("ArgMax", "ArgMin"):
        yield Case(op, (floats(2, 1000), number(1)), {"output_type": TYPES["int32"]})
    yield Case("Softmax", (floats(2, 1000, low=-9, high=9),))
    for op in ("Sum", "Max", "Min", "Prod"):
        yield Case(op, (whole(5, 3, 4, low=-3), ints(1)), {"keep_dims": False})
        yield Case(op, (whole(5, 3, 4, low=-3), ints(2)), {"keep_dims": False})
        yield Case(op, (whole(4, low=1), ints(0)), {"keep_dims": False})
    for op in ("All", "Any"):
        for shape, axes in AXES[:5]:
            yield Case(op, (flags(*shape), ints(*axes)), {"keep_dims": False})
    for op in ("ArgMax", "ArgMin"):
        for shape, axis in (((1, 7), 1), ((5, 3, 4), 0), ((2, 3, 4), 1), ((2, 3, 4, 5), -1), ((2, 3, 4, 5, 2), 2)):
            yield Case(op, (floats(*shape), number(axis)), {"output_type": TYPES["int32"]})
        yield Case(op, (whole(2, 9, high=3), number(1)), {"output_type": TYPES["int32"]}, "equal values")
    for shape, axis in (((1, 7), 1), ((5, 3, 4), 1), ((2, 3, 4, 5), 0), ((2, 3, 4, 5), 3), ((2, 3, 4, 5), -1)):
        for exclusive, reverse in ((False, False), (True, False), (False, True), (True, True)):
            yield Case("Cumsum", (floats(*shape), number(axis)), {"exclusive": exclusive, "reverse": reverse})
    for reverse in (False, True):
        yield Case("Cumsum", (floats(5, 2, 3, 2, 4), number(2)), {"exclusive": False, "reverse": reverse})
    yield Case("Cumsum", (whole(2, 3, 4), number(1)), {"exclusive": False, "reverse": False})
    for op in ("Softmax", "LogSoftmax"):
        for shape in ((1, 7), (5, 3, 4), (2, 3, 4, 5), (2, 2, 3, 2, 5)):
            yield Case(op, (floats(*shape, low=-9, high=9),))


def products() -> Iterator[Case]:
    """Of matrices, plain, turned, batched and fused."""
    for rows in (1, 2, 5):
        yield Case("MatMul", (floats(rows, 7), Fixed(floats(7, 4))), {"transpose_a": False, "transpose_b": False})
    for first, second in ((False, True), (True, False), (True, True)):
        one, other = floats(*((7, 5) if first else (5, 7))), floats(*((4, 7) if second else (7, 4)))
        yield Case("MatMul", (one, other), {"transpose_a": first, "transpose_b": second})
    batches: tuple[tuple[tuple[int, ...], tuple[int, ...]], ...] = (
        ((1,), (1,)),
        ((5,), (5,)),
        ((2, 3), (2, 3)),
        ((2, 2, 3), (2, 2, 3)),
        ((5,), ()),
        ((5,), (1,)),
        ((1,), (5,)),
        ((2, 1), (1, 3)),
        ((2, 3), (3,)),
        ((3,), (2, 3)),
        ((2, 1), (2, 3)),
        ((2, 3), (2, 1)),
        ((5, 1, 2), (2, 1)),
    )
    for first_batch, second_batch in batches:
        for first, second in ((False, False), (True, False), (False, True), (True, True)):
            one = floats(*first_batch, *((6, 4) if first else (4, 6)))
            other = floats(*second_batch, *((3, 6) if second else (6, 3)))
            yield Case("BatchMatMulV2", (one, other), {"adj_x": first, "adj_y": second})
    yield from sums_of_products()
    large = {"adj_x": False, "adj_y": True}
    yield Case("BatchMatMulV2", (floats(5, 33, 64), floats(64, 48)), {"adj_x": False, "adj_y": False})
    for rows in (1, 5, 64):
        inputs = (floats(rows, 1024), Fixed(floats(1024, 48)))
        yield Case("MatMul", inputs, {"transpose_a": False, "transpose_b": False})
    yield Case("BatchMatMulV2", (floats(2, 3, 50, 40), floats(2, 3, 50, 40)), large)
    for activation in ("", *ACTIVATIONS):
        for turned in (False, True):
            fused = {"fused_ops": ["BiasAdd", *([activation] if activation else [])]}
            slope = {"leakyrelu_alpha": 0.3} if activation == "LeakyRelu" else {}
            for rows in (2, 5):
                inputs = (floats(rows, 7), Fixed(floats(*((4, 7) if turned else (7, 4)))), [Fixed(floats(4))])
                yield Case("_FusedMatMul", inputs, {"transpose_b": turned, **fused, **slope})


def sums_of_products() -> Iterator[Case]:
    """As attention, bilinear layers and axes summed alone have them."""
    for batch in (1, 2, 5):
        pairs: tuple[tuple[str, tuple[int, ...], tuple[int, ...]], ...] = (
            ("bic,bjc->bij", (batch, 3, 4), (batch, 5, 4)),
            ("bqhd,bkhd->bhqk", (batch, 4, 2, 3), (batch, 5, 2, 3)),
            ("bhqk,bkhd->bqhd", (batch, 2, 4, 5), (batch, 5, 2, 3)),
            ("bqhd,dk->bqhk", (batch, 4, 2, 3), (3, 6)),
            ("bchw,cd->bhwd", (batch, 3, 2, 4), (3, 5)),
            ("bi,bj->bij", (batch, 3), (batch, 4)),
            ("bi,bi->b", (batch, 7), (batch, 7)),
            ("...ij,...kj->...ik", (batch, 2, 3, 4), (batch, 2, 5, 4)),
            ("b...i,ij->b...j", (batch, 2, 3, 4), (4, 5)),
        )
        for equation, first, second in pairs:
            yield Case("Einsum", ([floats(*first), floats(*second)],), {"equation": equation})
        yield Case("Einsum", ([floats(batch, 3, 4)],), {"equation": "bij->jb"})
    yield Case("Einsum", ([floats(2, 3, 4), floats(2, 4, 2)],), {"equation": "bij,bjk->bk"})
    yield Case("Einsum", ([floats(2, 3, 3)],), {"equation": "bii->bi"})


ACTIVATIONS = ("Relu", "Relu6", "Elu", "LeakyRelu", "Sigmoid", "Tanh")


def convolutions() -> Iterator[Case]:
    """And pooling."""
    plain = {"data_format": "NHWC", "strides": [1, 1, 1, 1], "dilations": [1, 1, 1, 1]}
    variants: tuple[tuple[tuple[int, int], tuple[int, int]], ...] = (
        ((1, 1), (1, 1)),
        ((2, 2), (1, 1)),
        ((2, 1), (1, 1)),
        ((1, 1), (2, 2)),
        ((1, 1), (2, 1)),
    )
    for padding in ("SAME", "VALID"):
        for batch, ((sh, sw), (dh, dw)) in zip((1, 2, 5, 2, 1), variants, strict=True):
            how = {**plain, "padding": padding, "strides": [1, sh, sw, 1], "dilations": [1, dh, dw, 1]}
            yield Case("Conv2D", (floats(batch, 8, 7, 3), Fixed(floats(3, 3, 3, 4))), how)
            if sh == sw:
                yield Case("DepthwiseConv2dNative", (floats(batch, 8, 7, 3), Fixed(floats(3, 3, 3, 1))), how)
                yield Case("DepthwiseConv2dNative", (floats(batch, 8, 7, 3), Fixed(floats(3, 3, 3, 2))), how)
        yield Case("Conv2D", (floats(2, 8, 7, 3), Fixed(floats(1, 1, 3, 4))), {**plain, "padding": padding})
        yield Case("Conv2D", (floats(2, 8, 7, 3), Fixed(floats(1, 5, 3, 4))), {**plain, "padding": padding})
        wide = {**plain, "padding": padding, "strides": [1, 2, 2, 1], "dilations": [1, 2, 2, 1]}
        yield Case("Conv2D", (floats(2, 9, 8, 3), Fixed(floats(3, 3, 3, 4))), wide)
    around = {**plain, "padding": "EXPLICIT", "explicit_paddings": [0, 0, 1, 2, 0, 1, 0, 0]}
    yield Case("Conv2D", (floats(2, 8, 7, 3), Fixed(floats(3, 3, 3, 4))), around)
    yield Case("DepthwiseConv2dNative", (floats(2, 8, 7, 3), Fixed(floats(3, 3, 3, 1))), around)
    # Some kernels take four channels at a time.
    for batch, channels, filters, taps, stride in (
        (1, 8, 16, 3, 1),
        (2, 32, 24, 1, 1),
        (5, 4, 8, 5, 2),
        (2, 3, 32, 7, 2),
    ):
        how = {**plain, "padding": "SAME", "strides": [1, stride, stride, 1]}
        yield Case("Conv2D", (floats(batch, 14, 14, channels), Fixed(floats(taps, taps, channels, filters))), how)
    for batch, channels, taps, stride in ((1, 8, 3, 1), (2, 16, 5, 2), (5, 32, 3, 2), (2, 8, 7, 1)):
        how = {**plain, "padding": "SAME", "strides": [1, stride, stride, 1]}
        yield Case(
            "DepthwiseConv2dNative", (floats(batch, 14, 14, channels), Fixed(floats(taps, taps, channels, 1))), how
        )
    for op in ("MaxPool", "AvgPool"):
        how = {"data_format": "NHWC", "ksize": [1, 7, 7, 1], "strides": [1, 1, 1, 1], "padding": "VALID"}
        yield Case(op, (floats(2, 7, 7, 32),), how)
    for batch, stride, padding in ((1, 1, "SAME"), (2, 2, "SAME"), (5, 2, "VALID"), (2, 3, "VALID")):
        size = [5 * stride, 4 * stride] if padding == "SAME" else [4 * stride + 3, 3 * stride + 3]
        how = {**plain, "padding": padding, "strides": [1, stride, stride, 1]}
        yield Case(
            "Conv2DBackpropInput", (ints(batch, *size, 3), Fixed(floats(3, 3, 3, 4)), floats(batch, 5, 4, 4)), how
        )
    for batch, stride, padding in ((1, 1, "SAME"), (2, 2, "VALID"), (5, 1, "VALID")):
        how = {"data_format": "NDHWC", "strides": [1, stride, stride, stride, 1], "padding": padding}
        yield Case("Conv3D", (floats(batch, 4, 5, 6, 2), Fixed(floats(2, 3, 3, 2, 3))), how)
    for op in ("MaxPool", "AvgPool"):
        for padding in ("SAME", "VALID"):
            for batch, kernel, stride in ((1, 2, 2), (2, 3, 2), (5, 3, 1)):
                how = {"data_format": "NHWC", "ksize": [1, kernel, kernel, 1], "strides": [1, stride, stride, 1]}
                yield Case(op, (floats(batch, 7, 6, 3),), {**how, "padding": padding})
        how = {"data_format": "NHWC", "ksize": [1, 3, 2, 1], "strides": [1, 2, 1, 1], "padding": "SAME"}
        yield Case(op, (floats(2, 7, 6, 3),), how)
        how = {"data_format": "NDHWC", "ksize": [1, 2, 2, 2, 1], "strides": [1, 2, 2, 2, 1], "padding": "VALID"}
        yield Case(f"{op}3D", (floats(2, 4, 5, 6, 2),), how)
    for activation in ("", *ACTIVATIONS):
        fused = {"fused_ops": ["BiasAdd", *([activation] if activation else [])]}
        slope = {"leakyrelu_alpha": 0.3} if activation == "LeakyRelu" else {}
        for batch, size in ((2, 3), (5, 1)):
            how = {**plain, "padding": "SAME", **fused, **slope}
            yield Case(
                "_FusedConv2D", (floats(batch, 8, 7, 3), Fixed(floats(size, size, 3, 4)), [Fixed(floats(4))]), how
            )
        weights = (Fixed(floats(3, 3, 3, 1)), [Fixed(floats(3))])
        yield Case("FusedDepthwiseConv2dNative", (floats(2, 8, 7, 3), *weights), how)
    for shape in ((2, 4), (5, 3, 4), (2, 3, 2, 4), (1, 2, 3, 2, 4)):
        yield Case("BiasAdd", (floats(*shape), Fixed(floats(shape[-1]))), {"data_format": "NHWC"})
    folded = [Fixed(floats(4, low=low)) for low in (0.5, -2, -1, 0.1)]
    norm = {"data_format": "NHWC", "is_training": False, "epsilon": 0.001}
    yield Case("FusedBatchNormV3", (floats(2, 3, 2, 4), *folded), norm)


def padding() -> Iterator[Case]:
    """And resizing."""
    pads: tuple[tuple[tuple[int, ...], list[list[int]]], ...] = (
        ((1, 7), [[0, 0], [1, 2]]),
        ((5, 3, 4), [[0, 0], [1, 0], [2, 1]]),
        ((2, 3, 4, 2), [[0, 0], [1, 2], [2, 1], [0, 0]]),
        ((2, 3, 4, 2), [[1, 0], [0, 0], [0, 0], [0, 3]]),
        ((2, 2, 3, 2, 2), [[0, 0], [0, 1], [1, 1], [0, 0], [1, 0]]),
    )
    for shape, amounts in pads:
        around = Fixed(np.array(amounts, np.int32))
        yield Case("Pad", (floats(*shape), around))
        yield Case("PadV2", (floats(*shape), around, Fixed(np.float32(-1.5))))
    yield Case(
        "PadV2", (floats(2, 3, 4, 2), Fixed(np.array(pads[2][1], np.int32)), Fixed(np.float32(-np.inf))), note="-inf"
    )
    yield Case("Pad", (whole(2, 3), Fixed(np.array([[0, 0], [1, 2]], np.int32))))
    mirrors: tuple[tuple[tuple[int, ...], list[list[int]]], ...] = (
        ((1, 7), [[0, 0], [1, 2]]),
        ((5, 3, 4), [[0, 0], [1, 0], [2, 1]]),
        ((2, 4, 4, 2), [[0, 0], [1, 2], [2, 1], [0, 0]]),
        ((2, 2, 3, 2, 2), [[0, 0], [0, 1], [1, 1], [0, 0], [1, 0]]),
    )
    for mode in ("REFLECT", "SYMMETRIC"):
        for shape, amounts in mirrors:
            yield Case("MirrorPad", (floats(*shape), Fixed(np.array(amounts, np.int32))), {"mode": mode})
    ways = ((False, False), (True, False), (False, True))
    for op in ("ResizeBilinear", "ResizeNearestNeighbor"):
        for batch, size in ((1, (10, 12)), (2, (3, 4)), (5, (7, 11)), (2, (5, 6))):
            for align, half in ways:
                how = {"align_corners": align, "half_pixel_centers": half}
                yield Case(op, (floats(batch, 5, 6, 3), ints(*size)), how)
    pools = (([2, 2], [[0, 0], [0, 0]]), ([2, 3], [[0, 0], [1, 2]]))
    for block, amounts in pools:
        inner = Fixed(np.array(amounts, np.int32))
        yield Case("SpaceToBatchND", (floats(2, 4, 6, 3), ints(*block), inner))
    for crops in ([[0, 0], [0, 0]], [[0, 1], [1, 0]]):
        yield Case("BatchToSpaceND", (floats(8, 3, 4, 2), ints(2, 2), Fixed(np.array(crops, np.int32))))
    for batch in (1, 2, 5):
        yield Case("DepthToSpace", (floats(batch, 3, 2, 8),), {"block_size": 2, "data_format": "NHWC"})
        yield Case("SpaceToDepth", (floats(batch, 4, 6, 3),), {"block_size": 2, "data_format": "NHWC"})


def shapes() -> Iterator[Case]:
    """Values moved, not changed."""
    for order in (
        (1, 0),
        (0, 2, 1),
        (2, 0, 1),
        (0, 3, 1, 2),
        (0, 2, 3, 1),
        (3, 1, 0, 2),
        (0, 2, 1, 3, 4),
        (4, 2, 0, 1, 3),
    ):
        shape = (5, 2, 3, 4, 2)[: len(order)]
        yield Case("Transpose", (floats(*shape), ints(*order)))
    for order in ((0, 1, 3, 2, 4, 5), (0, 1, 3, 4, 2, 5), (0, 3, 5, 1, 2, 4), (5, 4, 3, 2, 1, 0), (0, 2, 4, 1, 3, 5)):
        yield Case("Transpose", (floats(2, 3, 2, 4, 2, 3), ints(*order)))
    yield Case("Transpose", (whole(2, 3, 4), ints(0, 2, 1)))
    yield Case("Transpose", (flags(2, 3, 4), ints(2, 1, 0)))
    for shape, target in (((2, 12), (2, 3, 4)), ((5, 3, 4), (5, -1)), ((2, 3, 4), (1, 2, 3, 2, 1, 2)), ((1, 1), ())):
        yield Case("Reshape", (floats(*shape), ints(*target)))
    yield Case("Squeeze", (floats(1, 3, 1, 4),), {"squeeze_dims": [2]})
    yield Case("Squeeze", (floats(2, 1, 1, 4),), {"squeeze_dims": [1, 2]})
    for axis in (0, 1, -1):
        yield Case("ExpandDims", (floats(2, 3, 4), number(axis)))
    for axis in (0, 1, -1):
        yield Case("Pack", ([floats(2, 3), floats(2, 3) + 1, floats(2, 3) + 2],), {"axis": axis})
        yield Case("Unpack", (floats(5, 2, 3),), {"axis": axis, "num": {0: 5, 1: 2, -1: 3}[axis]})
    yield Case("Pack", ([floats(), floats() + 1],), {"axis": 0})
    yield Case("Pack", ([whole(2), whole(2) + 1],), {"axis": 1})
    for axis in (0, 1, 2, -1, 3):
        parts = [floats(2, 2, 3, 2), floats(2, 2, 3, 2) + 1]
        yield Case("ConcatV2", (parts, number(axis)))
    yield Case("ConcatV2", ([floats(5, 2), floats(5, 3), floats(5, 1)], number(-1)))
    yield Case("ConcatV2", ([whole(2, 2), whole(2, 3)], number(1)))
    yield Case("ConcatV2", ([flags(2, 2), flags(2, 3)], number(1)))
    yield Case("ConcatV2", ([floats(1, 2, 2, 1, 2, 1), floats(1, 2, 2, 3, 2, 1)], number(3)))
    for axis, count in ((0, 2), (1, 3), (2, 2), (-1, 2)):
        yield Case("Split", (number(axis), floats(2, 3, 4, 2)), {"num_split": count})
    for axis, sizes in ((1, (1, 2)), (2, (1, 3)), (-1, (3, -1))):
        yield Case("SplitV", (floats(5, 3, 4), ints(*sizes), number(axis)), {"num_split": 2})
    for begin, size in (((0, 1, 0), (-1, 2, 3)), ((1, 0, 2), (1, 3, 2)), ((0, 0, 1), (5, -1, 1))):
        yield Case("Slice", (floats(5, 3, 4), ints(*begin), ints(*size)))
    yield Case("Slice", (floats(2, 2, 3, 2, 2, 3), ints(0, 1, 0, 0, 1, 1), ints(-1, 1, 2, 2, 1, 2)))
    yield Case("Slice", (whole(2, 5), ints(0, 1), ints(2, 3)))
    yield from strided()
    tiles: tuple[tuple[tuple[int, ...], tuple[int, ...]], ...] = (
        ((1, 7), (5, 1)),
        ((5, 3, 1), (1, 2, 4)),
        ((2, 1, 3, 1), (1, 2, 1, 3)),
        ((1, 2, 1, 2, 1), (2, 1, 3, 1, 2)),
        ((1, 2, 1, 2, 1, 1), (2, 1, 3, 1, 2, 1)),
    )
    for shape, times in tiles:
        yield Case("Tile", (floats(*shape), ints(*times)))
        yield Case(
            "BroadcastTo",
            (
                floats(*shape),
                ints(*(size * many if size == 1 else size for size, many in zip(shape, times, strict=True))),
            ),
        )
    yield Case("Tile", (whole(2, 3), ints(1, 2)))
    yield Case("BroadcastTo", (floats(4), ints(2, 3, 4)))
    yield Case("BroadcastTo", (floats(), ints(2, 3)))
    yield Case("Fill", (ints(2, 3), floats()))
    yield Case("Fill", (whole(3, low=1), Fixed(np.float32(2.5))))
    yield Case("Range", (np.int32(0) + whole(), whole() + 9, number(2)))
    yield Case("Range", (number(7), whole() - 9, number(-3)))
    for shape in ((5, 3, 4), (1, 2)):
        yield Case("Shape", (floats(*shape),), {"out_type": TYPES["int32"]})
    for axes in ((0,), (1,), (1, 2), (-1,)):
        yield Case("ReverseV2", (floats(5, 3, 4), ints(*axes)))
    yield Case("ReverseV2", (floats(2, 3, 4, 2), ints(1, 2)))
    yield Case("ReverseV2", (floats(2, 2, 3, 2, 2), ints(2)))
    yield Case("ReverseV2", (whole(2, 3, 4), ints(1)))
    yield Case("EnsureShape", (floats(2, 3),), {"shape": [None, 3]})
    yield Case("Identity", (flags(2, 3),))


def strided() -> Iterator[Case]:
    """Slices with steps, new axes and axes that vanish."""
    masks = dict.fromkeys(("begin_mask", "end_mask", "ellipsis_mask", "new_axis_mask", "shrink_axis_mask"), 0)
    variants: tuple[tuple[tuple[int, ...], list[int], list[int], list[int], dict[str, int]], ...] = (
        ((5, 3, 4), [0, 1, 0], [0, 3, 0], [1, 1, 2], {"begin_mask": 5, "end_mask": 5}),
        ((5, 3, 4), [0, 0, -1], [0, 0, 0], [1, 1, -1], {"begin_mask": 3, "end_mask": 7}),
        ((2, 6, 4), [0, -1, 3], [0, 0, 0], [1, -2, -1], {"begin_mask": 1, "end_mask": 5}),
        ((5, 3, 4), [0, 1], [0, 2], [1, 1], {"begin_mask": 1, "end_mask": 1, "shrink_axis_mask": 2}),
        (
            (2, 3, 4),
            [0, 0, 1],
            [0, 0, 2],
            [1, 1, 1],
            {"begin_mask": 1, "end_mask": 1, "new_axis_mask": 2, "shrink_axis_mask": 4},
        ),
        ((2, 3, 4, 2), [0, 1], [0, 2], [1, 1], {"ellipsis_mask": 1}),
        ((2, 3, 4, 2), [0, 0], [0, 0], [1, 1], {"ellipsis_mask": 1, "new_axis_mask": 2}),
        ((2, 3, 4, 2, 3), [0, 0, 1, 0, 0], [0, 0, 4, 0, 0], [1, 1, 2, 1, 1], {"begin_mask": 27, "end_mask": 27}),
        (
            (2, 2, 3, 2, 2, 3),
            [0, 0, 0, 0, 0, -1],
            [0, 0, 0, 0, 0, 0],
            [1, 1, 1, 1, 1, -1],
            {"begin_mask": 63, "end_mask": 63},
        ),
        ((5,), [-1], [0], [1], {"end_mask": 1, "shrink_axis_mask": 1}),
    )
    for shape, begin, end, step, mask in variants:
        yield Case("StridedSlice", (floats(*shape), ints(*begin), ints(*end), ints(*step)), {**masks, **mask})
    for value in (whole(2, 6), flags(2, 6)):
        for step in (1, 2):
            yield Case("StridedSlice", (value, ints(0, 1), ints(2, 6), ints(1, step)), masks)


def indexing() -> Iterator[Case]:
    """Values found by whole numbers."""
    for shape, axis in (((5, 4), 0), ((2, 4), 1), ((2, 4, 3), 1), ((5, 3, 4), 2), ((2, 3, 4, 2), 3), ((2, 4, 3), -2)):
        for indices in ((), (3,), (2, 3)):
            yield Case(
                "GatherV2", (floats(*shape), whole(*indices, high=min(shape[axis], 4)), number(axis)), {"batch_dims": 0}
            )
    for batch in (1, 2, 5):
        for params, indices, axis in (
            ((batch, 6), (batch, 3), 1),
            ((batch, 6, 4), (batch, 3), 1),
            ((batch, 6, 4), (batch, 3, 2), 1),
            ((batch, 2, 6, 3), (batch, 3), 2),
            ((batch, 2, 3, 4), (batch, 3), 3),
            ((batch, 6), (batch,), 1),
        ):
            yield Case(
                "GatherV2", (floats(*params), whole(*indices, high=params[axis]), number(axis)), {"batch_dims": 1}
            )
        both = (floats(batch, 3, 6, 2), whole(batch, 3, 4), number(2))
        yield Case("GatherV2", both, {"batch_dims": 2})
    yield Case("GatherV2", (whole(2, 6, 4, high=99), whole(2, 3), number(1)), {"batch_dims": 1})
    yield Case("GatherV2", (whole(6, 4, high=99), whole(2, 3), number(0)), {"batch_dims": 0})
    yield Case("GatherV2", (floats(2, 3, 4, 2, 3), whole(2, 2, high=3), number(1)), {"batch_dims": 0})
    yield Case("GatherV2", (floats(2, 3, 2, 2, 4, 3), whole(3, high=4), number(4)), {"batch_dims": 0})
    yield Case("GatherV2", (flags(6, 4), whole(2, 3), number(0)), {"batch_dims": 0})
    for batch in (1, 2, 5):
        rows = np.arange(batch, dtype=np.int32).reshape(batch, 1, 1)
        pairs = np.concatenate([np.broadcast_to(rows, (batch, 3, 1)), whole(batch, 3, 1)], 2)
        yield Case("GatherNd", (floats(batch, 6), pairs))
        yield Case("GatherNd", (floats(batch, 6, 4), pairs))
        yield Case("GatherNd", (floats(batch, 6, 4, 2), pairs))
        places = np.array([[4], [1], [0], [3]], np.int32)[: 4 if batch > 1 else 1]
        yield Case("ScatterNd", (places, floats(len(places), batch), ints(5, batch)))
        yield Case("TensorScatterUpdate", (floats(5, batch, 2), places, floats(len(places), batch, 2)))
    deep = np.array([[0, 1, 2], [1, 0, 3]], np.int32)
    yield Case("ScatterNd", (deep, floats(2), ints(2, 2, 4)))
    yield Case("ScatterNd", (deep, floats(2, 3), ints(2, 2, 4, 3)))
    yield Case("ScatterNd", (np.array([[1], [1], [0]], np.int32), floats(3, 2), ints(3, 2)), note="one place twice")
    yield Case("ScatterNd", (np.array([[1], [0]], np.int32), whole(2, 2), ints(3, 2)))
    yield Case("TensorScatterUpdate", (floats(2, 2, 4), deep, floats(2)))
    yield Case("TensorScatterUpdate", (whole(5, 2), np.array([[1], [0]], np.int32), whole(2, 2, low=7, high=9)))
    for shape, many in (((1, 7), 3), ((5, 9), 9), ((2, 3, 8), 1), ((2, 40), 20)):
        yield Case("TopKV2", (floats(*shape), number(many)), {"sorted": True})
    yield Case("TopKV2", (whole(2, 9, high=4), number(5)), {"sorted": True}, "equal values")
    yield Case("TopKV2", (np.round(floats(2, 9)), number(5)), {"sorted": True}, "equal values")
    for shape, axis in (((1,), -1), ((5, 2), -1), ((2, 3), 1), ((2, 3), 0)):
        inputs = (whole(*shape), number(4), Fixed(np.float32(1.5)), Fixed(np.float32(-1)))
        yield Case("OneHot", inputs, {"axis": axis})
    yield from suppression()


def networks() -> Iterator[Case]:
    """Several operators as one network has them."""
    for batch in (1, 2, 5):
        turn = np.array([[0.9, -0.3, 0.1], [0.3, 0.9, -0.2]], np.float32)
        yield Case(
            "SpatialTransformer", (floats(batch, 8, 6, 3), np.stack([turn * (1 - at / 9) for at in range(batch)]))
        )


def larger() -> Iterator[Case]:
    """Sizes for which kernels have other ways: four channels at once, tiles, threads, two passes."""
    plain = {"data_format": "NHWC", "strides": [1, 1, 1, 1], "dilations": [1, 1, 1, 1], "padding": "SAME"}
    fused = {"fused_ops": ["BiasAdd", "Relu6"]}
    for batch, size, given, made in ((1, 1, 16, 32), (2, 3, 4, 8), (5, 3, 5, 7), (2, 1, 64, 4)):
        for step in (1, 2):
            how = {**plain, "strides": [1, step, step, 1]}
            yield Case("Conv2D", (floats(batch, 13, 9, given), Fixed(floats(size, size, given, made))), how)
        weights = (Fixed(floats(size, size, given, made)), [Fixed(floats(made))])
        yield Case("_FusedConv2D", (floats(batch, 13, 9, given), *weights), {**plain, **fused})
    for batch, size, channels in ((1, 3, 8), (2, 5, 4), (5, 7, 17)):
        how = {**plain, "strides": [1, 2, 2, 1]}
        yield Case(
            "DepthwiseConv2dNative", (floats(batch, 14, 15, channels), Fixed(floats(size, size, channels, 1))), how
        )
    gradient = (ints(2, 16, 16, 8), Fixed(floats(4, 4, 8, 12)), floats(2, 8, 8, 12))
    yield Case("Conv2DBackpropInput", gradient, {**plain, "strides": [1, 2, 2, 1]})
    for kernel, step in ((7, 7), (5, 1), (1, 2)):
        how = {**plain, "ksize": [1, kernel, kernel, 1], "strides": [1, step, step, 1]}
        del how["dilations"]
        yield Case("MaxPool", (floats(2, 14, 14, 16),), how)
        yield Case("AvgPool", (floats(2, 14, 14, 16),), how)
    for rows, inner, columns in ((1, 64, 64), (1, 2000, 1), (2, 2000, 3), (64, 64, 64), (130, 3, 70)):
        factors = (floats(5, rows, inner), floats(5, columns, inner))
        yield Case("BatchMatMulV2", factors, {"adj_x": False, "adj_y": True})
    for shape, axes in (((2, 3000), (1,)), ((1, 40, 40, 32), (1, 2)), ((2, 33, 65), (0, 2))):
        for op in ("Sum", "Mean", "Max"):
            yield Case(op, (floats(*shape), ints(*axes)), {"keep_dims": False})
        yield Case("ArgMax", (floats(*shape), number(axes[-1])), {"output_type": TYPES["int32"]})
    yield Case("Softmax", (floats(5, 17, 300, low=-9, high=9),))
    yield Case("Cumsum", (floats(2, 600), number(1)), {"exclusive": False, "reverse": False})
    yield Case("TopKV2", (floats(2, 1000), number(100)), {"sorted": True})
    for count in (5, 17, 33):
        yield Case("ConcatV2", ([floats(2, 3, 4, 1 + at % 3) + at for at in range(count)], number(3)))
    for shape, order in (((2, 64, 48), (0, 2, 1)), ((2, 49, 3, 4, 8), (2, 0, 3, 1, 4))):
        yield Case("Transpose", (floats(*shape), ints(*order)))
    yield Case("ResizeBilinear", (floats(5, 16, 15, 8), ints(32, 30)), {"half_pixel_centers": True})
    yield Case("GatherV2", (floats(500, 16), whole(5, 40, high=500), number(0)), {"batch_dims": 0})
    for op in ("Erf", "Sigmoid", "Exp", "Tanh", "Round", "Softplus"):
        yield Case(op, (floats(5, 9, 13, 32, low=-3, high=3),))
    yield Case("AddV2", (floats(5, 100, 70), floats(100, 70)))


def seldom() -> Iterator[Case]:
    """Operators that only some converters write."""
    for batch in (1, 2, 5):
        yield Case("AddN", ([floats(batch, 3), floats(batch, 3) + 1, floats(batch, 3) + 2],))
        yield Case("LRN", (floats(batch, 4, 3, 8),), {"depth_radius": 2, "bias": 1.0, "alpha": 1e-2, "beta": 0.75})
        for below, above in ((-1, 0), (1, -1), (1, 2), (-1, -1)):
            yield Case("MatrixBandPart", (floats(batch, 4, 5), number(below), number(above)))
        yield Case("MatrixBandPart", (floats(batch, 2, 3, 4, 5), number(0), number(-1)))
        yield Case("Cumprod", (floats(batch, 3, 4), number(1)), {"exclusive": False, "reverse": False})
        yield Case("EuclideanNorm", (floats(batch, 3, 4), ints(1)), {"keep_dims": True})
        boxes = np.array([[0.1, 0.2, 0.8, 0.9], [0.3, 0, 1, 0.7]], np.float32)
        for places in ((0, 0), (0, batch - 1)):
            how = {"method": "bilinear", "extrapolation_value": 0.0}
            yield Case("CropAndResize", (floats(batch, 8, 7, 3), boxes, ints(*places), ints(4, 5)), how)
        yield Case("Size", (floats(batch, 3, 4),), {"out_type": TYPES["int32"]})
        yield Case("Rank", (floats(batch, 3, 4),))
        yield Case("StopGradient", (floats(batch, 3),))
        yield Case("BatchMatMul", (floats(batch, 3, 4), floats(batch, 5, 4)), {"adj_x": False, "adj_y": True})
        yield Case("Add", (floats(batch, 3), floats(batch, 3) + 1))
        yield Case("Div", (floats(batch, 3), floats(batch, 3) + 3))
        yield Case("Select", (flags(batch, 3), floats(batch, 3), floats(batch, 3) + 3))
        yield Case("Select", (flags(batch, 2, 1, 3, 2), floats(batch, 2, 1, 3, 2), floats(batch, 2, 1, 3, 2) + 3))
    yield Case("Select", (flags(5), floats(5, 3), floats(5, 3) + 3), note="a flag a row")
    yield Case("Select", (flags(5), floats(5, 2, 2, 1, 3), floats(5, 2, 2, 1, 3) + 3), note="a flag a row")
    yield Case("Where", (flags(2, 5),))


def suppression() -> Iterator[Case]:
    """Of boxes that overlap."""
    corners = floats(8, 2, low=0, high=4)
    boxes = np.concatenate([corners, corners + 2], 1)
    limits = (number(5), Fixed(np.float32(0.3)), Fixed(np.float32(0.1)))
    scores = floats(8, low=0, high=1)
    yield Case("NonMaxSuppressionV4", (boxes, scores, *limits), {"pad_to_max_output_size": True})
    yield Case("NonMaxSuppressionV2", (boxes, scores, *limits[:2]))
    yield Case("NonMaxSuppressionV3", (boxes, scores, *limits))
    softness = Fixed(np.float32(0))
    yield Case("NonMaxSuppressionV5", (boxes, scores, *limits, softness), {"pad_to_max_output_size": False})


KINDS = (unary, binary, casts, reductions, products, convolutions, padding, shapes, indexing, networks, larger, seldom)


def table(kinds: Sequence[Any] = KINDS) -> list[Case]:
    """Every case, each of another name."""
    found = {case.name: case for kind in kinds for case in kind()}
    return list(found.values())
