"""The steps of the plain chain that are Python, as the libraries' own pages have them: run by benchmarks/export.py.

python -m benchmarks.plain onnx runs/RUN/checkpoint model.onnx
python -m benchmarks.plain litert_torch runs/RUN/checkpoint model.tflite      in the toolchain litert_torch
"""

import sys
from pathlib import Path

import torch

from pipeline.checkpoint import Checkpoint


def onnx(checkpoint: Checkpoint, path: Path) -> None:
    """Export with PyTorch's exporter, for any batch size."""
    example = checkpoint.example()
    torch.onnx.export(
        checkpoint.model(),
        example,
        path,
        dynamo=True,
        input_names=[tensor.name for tensor in checkpoint.inputs],
        output_names=[tensor.name for tensor in checkpoint.outputs],
        dynamic_shapes=tuple({0: torch.export.Dim("batch")} for _ in example),
    )


def torchscript(checkpoint: Checkpoint, path: Path) -> None:
    """Export with PyTorch's deprecated exporter, for one image at a time.

    Most recipes for onnx2tf were written for it.
    """
    torch.onnx.export(
        checkpoint.model(),
        tuple(one[:1] for one in checkpoint.example()),
        path,
        dynamo=False,
        input_names=[tensor.name for tensor in checkpoint.inputs],
        output_names=[tensor.name for tensor in checkpoint.outputs],
    )


def litert_torch(checkpoint: Checkpoint, path: Path) -> None:
    """Convert PyTorch → TFLite without ONNX, for one image at a time."""
    import litert_torch

    litert_torch.convert(checkpoint.model(), tuple(one[:1] for one in checkpoint.example())).export(str(path))


STEPS = {"onnx": onnx, "torchscript": torchscript, "litert_torch": litert_torch}

if __name__ == "__main__":
    Path(sys.argv[3]).parent.mkdir(exist_ok=True)
    STEPS[sys.argv[1]](Checkpoint.open(Path(sys.argv[2])), Path(sys.argv[3]))
