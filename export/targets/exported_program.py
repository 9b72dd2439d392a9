"""`torch.export`'s program (.pt2), TorchScript's successor: a graph of ATen operators, any batch size."""

from pathlib import Path
from typing import Any

from export.graphs.captured import program_of
from pipeline import program
from pipeline.checkpoint import Checkpoint

TOOLCHAIN = "torch"
SOURCES = {"float32": "checkpoint"}

ENTRY = "model.pt2"


def convert(source: Path, checkpoint: Path, precision: str, out: Path) -> dict[str, Any]:
    """Write the program of a checkpoint's folder as `model.pt2`, with labels and checkpoint hash in its extra files.

    Raises Inexpressible for a model that PyTorch refused to capture.
    """
    opened = Checkpoint.open(Path(source))
    extra = {"labels.txt": "\n".join(opened.labels), "checkpoint_sha256": opened.sha256}
    program.save(program_of(opened, "A torch.export program"), Path(out) / ENTRY, extra)
    return {"entry": ENTRY}
