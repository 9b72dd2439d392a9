"""TorchScript for libtorch in C++ and PyTorch Mobile: traced and frozen, or scripted where a trace loses a branch.

PyTorch has deprecated it (2.11) in favour of `exported_program`; what is deployed still reads it.
"""

import warnings
from pathlib import Path
from typing import Any

import torch

from export.graphs.torchscript_ways import faithful
from pipeline.checkpoint import Checkpoint

TOOLCHAIN = "torch"
SOURCES = {"float32": "checkpoint"}

ENTRY = "model.pt"


def convert(source: Path, checkpoint: Path, precision: str, out: Path) -> dict[str, Any]:
    """Write a checkpoint folder as `model.pt`, with labels and checkpoint hash in its extra files.

    Raises Inexpressible for a model that neither a trace nor a script keeps.
    """
    opened = Checkpoint.open(Path(source))
    extra = {"labels.txt": "\n".join(opened.labels), "checkpoint_sha256": opened.sha256}
    with warnings.catch_warnings(), torch.no_grad():
        warnings.filterwarnings("ignore", "`torch.jit.*deprecated", FutureWarning)
        module, way = faithful(opened)
        torch.jit.save(module, str(Path(out) / ENTRY), _extra_files=extra)
    return {"entry": ENTRY, "details": {"way": way}}
