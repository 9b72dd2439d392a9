"""Writes what an app needs to know into an ONNX file, and removes what it says of the machine that made it."""

import json
from pathlib import Path

import onnx

from pipeline.checkpoint import Checkpoint
from records.tensor import preparations


def finish(path: Path, opened: Checkpoint, precision: str) -> None:
    """Infer shapes, write an app's metadata, remove paths of this machine, and check the file."""
    model = onnx.load(path, load_external_data=False)  # which stays where it is
    if precision != "float32":
        del model.graph.value_info[:]  # they are float32's
    strict = precision == "float32" and agrees(model)
    model = onnx.shape_inference.infer_shapes(model, strict_mode=strict)
    for node in model.graph.node:
        # The exporter records the source line of every operator, with the paths of this machine.
        properties = {item.key: item.value for item in node.metadata_props if "stack_trace" not in item.key}
        del node.metadata_props[:]  # and with them the items
        onnx.helper.set_metadata_props(node, properties)
    onnx.helper.set_model_props(
        model,
        {
            "task": opened.task,
            "labels": json.dumps(opened.labels),
            "normalisation": json.dumps(dict(opened.normalisation)),
            "preparation": json.dumps(preparations(opened.inputs)),
            "checkpoint_sha256": opened.sha256,
            "precision": precision,
        },
    )
    onnx.save(model, path)
    onnx.checker.check_model(path, full_check=strict)


def agrees(model: onnx.ModelProto) -> bool:
    """True if ONNX's shape inference agrees with the shapes that PyTorch recorded.

    Before opset 22 it counts a last pooling window that begins in the padding, which neither PyTorch nor ONNX Runtime
    does (`AvgPool2d(4, 3, padding=2, ceil_mode=True)` on 31 pixels: 12 instead of 11).
    """
    try:
        onnx.shape_inference.infer_shapes(model, strict_mode=True)
    except onnx.shape_inference.InferenceError as error:
        print(f"shape inference: {error}")
        return False
    return True
