"""`torch.export`'s program (.pt2), TorchScript's successor: a graph of ATen operators, any batch size."""

from pathlib import Path
from typing import Any

import torch

from export.graphs.control_flow import refusal
from pipeline.checkpoint import Checkpoint

TOOLCHAIN = "torch"
SOURCES = {"float32": "checkpoint"}


def convert(source: Path, checkpoint: Path, precision: str, out: Path) -> dict[str, Any]:
    """Write a checkpoint folder's `model.pt2`, with labels and checkpoint hash in its extra files."""
    opened = Checkpoint.open(Path(source))
    example = opened.example()
    batch = torch.export.Dim("batch")
    try:
        program = torch.export.export(opened.model(), example, dynamic_shapes=tuple({0: batch} for _ in example))
    except RuntimeError as error:
        if refused := refusal("A torch.export program", error):
            raise refused from error
        raise
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # source lines, with the paths of this machine
    extra = {"labels.txt": "\n".join(opened.labels), "checkpoint_sha256": opened.sha256}
    torch.export.save(program, Path(out) / "model.pt2", extra_files=extra)
    return {"entry": "model.pt2"}
