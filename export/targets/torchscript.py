"""TorchScript for libtorch in C++ and PyTorch Mobile, compiled from the program; or without one, as it was captured.

PyTorch has deprecated it (2.11) in favour of `exported_program`; what is deployed still reads it.
"""

import warnings
from pathlib import Path
from typing import Any

import torch

from export.graphs.captured import scripted
from export.graphs.operators import Inexpressible
from pipeline.checkpoint import TORCHSCRIPT, Checkpoint

TOOLCHAIN = "torch"
SOURCES = {"float32": "checkpoint"}

ENTRY = "model.pt"


def convert(source: Path, checkpoint: Path, precision: str, out: Path) -> dict[str, Any]:
    """Write a checkpoint folder as `model.pt`, with labels and checkpoint hash in its extra files.

    Raises Inexpressible for a model that neither a program nor TorchScript by itself keeps.
    """
    opened = Checkpoint.open(Path(source))
    extra = {"labels.txt": "\n".join(opened.labels), "checkpoint_sha256": opened.sha256}
    if refusal := opened.refused("torchscript"):
        raise Inexpressible(refusal.told("TorchScript"))
    with warnings.catch_warnings(), torch.no_grad():
        warnings.filterwarnings("ignore", "`torch.jit.*deprecated", FutureWarning)
        without = TORCHSCRIPT in opened.files
        module = torch.jit.load(str(opened.folder / TORCHSCRIPT)) if without else scripted(opened.program())
        torch.jit.save(module, str(Path(out) / ENTRY), _extra_files=extra)
    return {"entry": ENTRY, "details": {"way": "module" if without else "program"}}
