"""ONNX's own conformance cases through the importer: what is right, wrong and refused. Runs in the toolchain.

    run()["wrong"]                       # {"test_…": "output 0: 3 of 60 values beyond tolerance"}

The cases are shipped in the `onnx` wheel. Each is built as a graph twice: its first input fed and the others constants,
as exported networks have them, and all inputs fed. It is right if either way gives every output within the tolerance
that ONNX's own test has, and wrong if either gives anything else.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.backend.test
import tensorflow as tf
from onnx import numpy_helper

from export.graphs.importer.graph import read
from export.graphs.importer.node import Refused

FOLDER = Path(onnx.backend.test.__file__).parent / "data" / "node"
RELATIVE, ABSOLUTE = 1e-3, 1e-6
"""As onnx.backend.test's runner compares."""
KINDS = {
    "float32",
    "float64",
    "float16",
    "int8",
    "int16",
    "int32",
    "int64",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
    "bool",
}


def run(only: str = "") -> dict[str, dict[str, str]]:
    """Every case, or those whose name has a part → right, wrong and refused, each with what there is to say."""
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})  # half the time is its
    found: dict[str, dict[str, str]] = {"right": {}, "wrong": {}, "refused": {}}
    for folder in sorted(one for one in FOLDER.glob("test_*") if only in one.name):
        status, said = judged(folder)
        found[status][folder.name] = said
    return found


def judged(folder: Path) -> tuple[str, str]:
    """One case."""
    try:
        model = onnx.load(folder / "model.onnx")
        inputs = [_array(path) for path in _sorted(folder, "input")]
        outputs = [_array(path) for path in _sorted(folder, "output")]
    except (TypeError, ValueError, AttributeError) as error:
        return "refused", f"its data are no tensors: {type(error).__name__}"
    names = [one.name for one in model.graph.input]
    strange = {str(value.dtype) for value in [*inputs, *outputs]} - KINDS
    if strange or len(names) != len(inputs):
        return "refused", f"its data are {', '.join(sorted(strange)) or 'optional'}"
    refusals = []
    ways = [{*names[:1]}] + ([set(names)] if len(names) > 1 else [])
    for fed in ways:
        try:
            actual = _given(model, dict(zip(names, inputs, strict=True)), fed)
        except Refused as error:
            refusals.append(str(error))
            continue
        except Exception as error:  # noqa: BLE001  # whatever is no refusal by name is wrong
            return "wrong", f"{type(error).__name__}: {str(error).strip().splitlines()[0]}"
        said = _compared([actual[one.name] for one in model.graph.output], outputs)
        if said:
            return "wrong", said
    return ("refused", refusals[0]) if len(refusals) == len(ways) else ("right", "")


def _sorted(folder: Path, kind: str) -> list[Path]:
    files = (folder / "test_data_set_0").glob(f"{kind}_*.pb")
    return sorted(files, key=lambda path: int(path.stem.partition("_")[2]))


def _array(path: Path) -> Any:
    tensor = onnx.TensorProto()
    tensor.ParseFromString(path.read_bytes())
    return numpy_helper.to_array(tensor)


def _given(model: onnx.ModelProto, inputs: dict[str, Any], fed: set[str]) -> dict[str, Any]:
    bound = onnx.ModelProto()
    bound.CopyFrom(model)
    for name, value in inputs.items():
        if name not in fed:
            bound.graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))
    kept = [one for one in bound.graph.input if one.name in fed]
    del bound.graph.input[:]
    bound.graph.input.extend(kept)
    network = read(bound)
    specs = {name: tf.TensorSpec(inputs[name].shape, inputs[name].dtype) for name in network.inputs}
    function = tf.function(lambda tensors: network(**tensors), autograph=False).get_concrete_function(specs)
    outputs = function({name: tf.constant(inputs[name]) for name in network.inputs})
    return {name: value.numpy() for name, value in outputs.items()}


def _compared(actual: Sequence[Any], expected: Sequence[Any]) -> str:
    for index, (one, other) in enumerate(zip(actual, expected, strict=True)):
        if one.dtype != other.dtype or one.shape != other.shape:
            return f"output {index}: {one.dtype}{one.shape}, not {other.dtype}{other.shape}"
        if not np.allclose(one, other, rtol=RELATIVE, atol=ABSOLUTE, equal_nan=True):
            beyond = int((~np.isclose(one, other, rtol=RELATIVE, atol=ABSOLUTE, equal_nan=True)).sum())
            return f"output {index}: {beyond} of {other.size} values beyond tolerance"
    return ""
