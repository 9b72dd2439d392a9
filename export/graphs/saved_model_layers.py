"""Finds which ONNX tensor each tensor of a SavedModel is, where the way it was made does not say it.

find_layers(case, Path("1"), opened)          # {"model/conv/Relu": Twin(…)}
"""

from pathlib import Path

import onnx

from export.graphs import layers, onnx_runtime
from export.graphs.saved_model_case import Case
from export.graphs.tensorflow import inner, load_graph
from pipeline.checkpoint import Checkpoint


def find_layers(case: Case, folder: Path, opened: Checkpoint) -> dict[str, layers.Twin]:
    """Return TensorFlow's tensors → their twins in ONNX: those that have the same values on one calibration sample."""
    model = onnx.load(case.path)
    types = {
        item.name: item.type.tensor_type.elem_type for item in onnx.shape_inference.infer_shapes(model).graph.value_info
    }
    outputs = {output.name for output in model.graph.output}
    names = {name for name in case.places if name not in outputs and types.get(name) == onnx.TensorProto.FLOAT}
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in sorted(names))
    sample = {name: values[:1] for name, values in opened.calibration().items()}
    reference = onnx_runtime.loaded(model.SerializeToString())(sample)
    graph = load_graph(folder)
    stored = {tensor.name: tensor.stored(sample[tensor.name]) for tensor in case.inputs}
    values = inner(graph)([stored[spec.name] for spec in graph.inputs])
    by_canonical = {layers.canonical(name): value for name, value in values.items()}
    return layers.matched(case.places, reference, by_canonical) | output_layers(case)


def output_layers(case: Case) -> dict[str, layers.Twin]:
    """Return the outputs' twins, by the names that TFLite has for the outputs."""
    names = [tensor.name for tensor in case.outputs if tensor.name in case.places]
    return {name: layers.Twin(name, None, case.places[name].module) for name in names}
