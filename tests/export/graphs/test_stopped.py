"""The operator at which a runtime stopped is found by what the runtime says, and its module by the operator."""

import pytest

from export.graphs.layers import Twin
from export.graphs.stopped import Operator, find_stop, names_operator

KNOWN = {
    "node_div/BiasAdd": Twin("div", None, "normalisation"),
    "node_relu/Relu": Twin("relu", None, "features.1"),
    "node_mean/Mean": Twin("mean", None, "head.norm"),
    "node_div_1/truediv": Twin("div_1", None, "head.norm"),
    "node_conv2d_1/BiasAdd": Twin("conv2d_1", None, "head.conv"),
    "node_relu_1/Relu": Twin("relu_1", None, "head"),
    "node_linear/add": Twin("logits", None, "head.fc"),
}
KINDS = ("BIAS", "RELU", "MEAN", "DIV", "CONV_2D", "RELU", "FULLY_CONNECTED")


def numbered() -> list[Operator]:
    """As in a .tflite file, after an operator that nobody knows."""
    names = [f"PartitionedCall/PartitionedCall/{tensor};PartitionedCall/fused" for tensor in KNOWN]
    known = [
        Operator(str(number), kind, 2, name)
        for number, (kind, name) in enumerate(zip(KINDS, names, strict=True), start=1)
    ]
    return [Operator("0", "QUANTIZE", 1, "image_inner"), *known]


def named(kind: str = "Div") -> list[Operator]:
    """As in a graph whose nodes have names."""
    return [Operator(tensor, kind if "div_1" in tensor else "Op", None, tensor) for tensor in KNOWN]


@pytest.mark.parametrize(
    "said",
    [
        "tflite/kernels/div.cc:262 data[i] != zero_point was not true.Node number 4 (DIV) failed to invoke.",
        "Div only supports FLOAT32, INT32 and quantized UINT8 now, got 9.Node number 4 (DIV) failed to invoke.; a",
        "Given shapes, [1,15,15,16] and [1,32,32,3], are not broadcastable.Node number 4 (DIV) failed to prepare.",
        "third_party/tensorflow/lite/kernels/div.cc:262 data[i] != zero_point was not true. Node number 4 (DIV) failed "
        "to invoke. [litert_compiled_model.cc:164] Failed to invoke",
        "Didn't find op for builtin opcode 'DIV' version '2'. An older version of this builtin might be supported.",
        "tflite-runtime 2.14.0 has no DIV version 2; a newer runtime may have it",
    ],
)
def test_tflite_says_a_number_or_a_kind_with_its_version(said: str) -> None:
    stop = find_stop(f"RuntimeError: {said}", numbered(), KNOWN)
    assert stop
    assert stop.modules == ("head.norm",)
    assert stop.sentence == "That operator computes head.norm (between features.1 and head.conv)."


@pytest.mark.parametrize(
    "said",
    [
        "Non-zero status code returned while running Mod node. Name:'node_div_1/truediv' Status Message: fmod was",
        "Load model from model.onnx failed:Node (node_div_1/truediv) Op (Gemm) [ShapeInferenceError] Dimension",
        "Type 'tensor(float)' of input parameter (x) of operator (Mod) in node (node_div_1/truediv) is invalid",
        'In Node, ("node_div_1/truediv", Foo, "", -1) : ("sub": tensor(float)) , Error No Op registered for Foo',
        "Could not find an implementation for BitShift(11) node with name 'node_div_1/truediv'",
        "Can't create a session. ERROR_CODE: 6, ERROR_MESSAGE: No Op registered for Foo with domain_version of 20",
        "Fatal error: my.own:Foo(-1) is not a registered function/op",
        "Incompatible shapes: [8] vs. [3]\n\t [[{{node node_div_1/truediv}}]] [Op:__inference_signature_wrapper_61]",
        "\n\t; NodeDef: {{node PartitionedCall/node_div_1/truediv}}; Op<name=BitwiseAnd; signature=x:T, y:T -> z:T>",
        "Op type not registered 'Foo' in binary running on vm. Make sure the Op and Kernel are registered",
        "Unknown op 'Foo'. File an issue at https://github.com/tensorflow/tfjs/issues so we can add it",
        "Kernel 'Foo' not registered for backend 'wasm'",
    ],
)
def test_onnx_runtime_and_tensorflow_say_a_name_or_a_kind(said: str) -> None:
    stop = find_stop(f"Fail: {said}", named("Foo"), KNOWN)
    assert stop
    assert stop.sentence == "That operator computes head.norm (between features.1 and head.conv)."


@pytest.mark.parametrize(
    "said",
    [
        "XNNPack delegate failed to reshape runtimeNode number 8 (TfLiteXNNPackDelegate) failed to prepare.",
        "Node number 5 (DIV) failed to invoke.",  # of another graph
        "Didn't find op for builtin opcode 'DIV' version '99'.",
        "Node number 0 (SOFTMAX) failed to invoke.",
        "Input tensor 18 lacks data",
        "the worker of toolchain litert was ended by signal SIGSEGV",
        "",
    ],
)
def test_what_names_no_operator_of_the_artifact_says_nothing(said: str) -> None:
    assert find_stop(said, numbered(), KNOWN) is None


def test_only_a_message_that_may_name_an_operator_is_worth_reading_the_artifact() -> None:
    assert names_operator("Node number 8 (TfLiteXNNPackDelegate) failed to prepare.")
    assert not names_operator("Error in conv2d: depth of input (3) must match input depth for filter 16.")


def test_of_an_operator_in_a_loop_it_is_the_loop_that_is_in_the_graph() -> None:
    loop = [*numbered(), Operator("8", "WHILE", 1, "logits")]
    said = "Node number 4 (GATHER) failed to invoke.Node number 8 (WHILE) failed to invoke."
    stop = find_stop(said, loop, {**KNOWN, "logits": Twin("logits", None, "loop")})
    assert stop
    assert stop.modules == ("loop",)


def test_a_kind_with_many_operators_names_their_modules() -> None:
    operators = [Operator(name, "Foo", None, name) for name in KNOWN]
    stop = find_stop("Unknown op 'Foo'.", operators, KNOWN)
    assert stop
    assert stop.sentence == "Such operators compute normalisation, features.1, head.norm and 3 more modules."
    assert len(stop.modules) == 6


def test_the_neighbours_of_a_module_are_none_that_hold_it() -> None:
    linear = find_stop("Node number 7 (FULLY_CONNECTED) failed to invoke.", numbered(), KNOWN)
    own = find_stop(
        "Node number 6 (RELU) failed to invoke.", numbered(), KNOWN | {"node_relu_1/Relu": Twin("", None, "the model")}
    )
    assert linear
    assert linear.sentence == "That operator computes head.fc (after head.conv)."
    assert own
    assert own.sentence == "That operator computes a line of the model itself (between head.conv and head.fc)."
