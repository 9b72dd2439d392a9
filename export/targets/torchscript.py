"""TorchScript: traced and frozen, for libtorch in C++ and PyTorch Mobile.

PyTorch has deprecated it (2.11) in favour of `exported_program`; what is deployed still reads it.
"""

import warnings
from pathlib import Path
from typing import Any

import torch

from pipeline.checkpoint import Checkpoint

TOOLCHAIN = "torch"
SOURCES = {"float32": "checkpoint"}


def convert(source: Path, checkpoint: Path, precision: str, out: Path) -> dict[str, Any]:
    """Checkpoint folder → `model.pt`, with labels and checkpoint hash in its extra files."""
    opened = Checkpoint.open(Path(source))
    example = opened.example()
    extra = {"labels.txt": "\n".join(opened.labels), "checkpoint_sha256": opened.sha256}
    with warnings.catch_warnings(), torch.no_grad():
        warnings.filterwarnings("ignore", "`torch.jit.*deprecated", FutureWarning)
        model = torch.jit.freeze(torch.jit.trace(opened.model(), example))
        torch.jit.save(model, str(Path(out) / "model.pt"), _extra_files=extra)
    return {"entry": "model.pt"}
