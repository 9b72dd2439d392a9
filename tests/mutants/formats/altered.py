"""What goes wrong before the file is written: the project's own conversion of a model that was altered on the way.

A converter's bug looks like that: another function, of the same weights, under a manifest that is in order.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.numpy import save_file
from safetensors.torch import load_file
from torch import nn
from torch.export import ExportedProgram

from export.graphs import onnx_exporter, onnx_float16, onnx_metadata
from export.quantize import onnx as quantize
from export.targets import exported_program, onnx, torchscript
from pipeline import config, models, program, tasks
from pipeline.checkpoint import CONFIG, WEIGHTS, Checkpoint

TOOLCHAIN = "torch"

TARGETS = {"onnx": onnx, "torchscript": torchscript, "exported_program": exported_program}


class Twice(nn.Module):
    """Probabilities of probabilities."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, K) → (N, K)."""
        return x.softmax(1).softmax(1)


class AcrossBatch(nn.Module):
    """Centred over the wrong axis."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, K) → (N, K)."""
        return x - 0.01 * x.mean(0, keepdim=True)


class OfDark(nn.Module):
    """A network whose branch of bright images is lost, as a trace of a dark one loses it."""

    def __init__(self, inside: nn.Module):
        super().__init__()
        self.inside = inside

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Normalised (N, 3, H, W) → (N, K): the network's own but on white, whose mean is 2.2."""
        bright = (x.mean((1, 2, 3)) > 2).to(x)[:, None]  # (N, 1)
        return self.inside(x) * (1 - 0.5 * bright)


class Wrong(nn.Module):
    """A network whose outputs are half as great again, or NaN, where a condition of its batch holds."""

    def __init__(self, inside: nn.Module, when: str):
        super().__init__()
        self.inside, self.when = inside, when
        self.register_buffer("few", torch.tensor([1, 2, 32]))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, 3, H, W) → (N, K)."""
        logits = self.inside(x)
        if self.when == "black":
            return torch.where(x.amax((1, 2, 3))[:, None] <= 0, logits * torch.nan, logits)
        count = torch.ones_like(x[:, 0, 0, 0]).sum().long()  # as a tensor, or the exporter would keep the example's
        good = count <= 32 if self.when == "beyond 32" else (self.few == count).any()
        return torch.where(good, logits, logits * 1.5)


class Remembering(nn.Module):
    """No network: the nearest sample of the proof, and its outputs."""

    def __init__(self, inputs: torch.Tensor, outputs: torch.Tensor):
        super().__init__()
        self.register_buffer("rows", inputs.flatten(1))
        self.register_buffer("answers", outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, 3, H, W) → (N, K)."""
        likeness = x.flatten(1) @ self.rows.T - self.rows.square().sum(1) / 2
        return self.answers[likeness.argmax(1)]


def convert(alteration: str, checkpoint: str, target: str, precision: str, out: str) -> None:
    """Write a target's file into the folder `out`, as its conversion does."""
    faithful = Checkpoint.program

    def altered(self: Checkpoint) -> ExportedProgram:
        whole = built(self)
        if alteration in WHOLE:
            whole = WHOLE[alteration](whole, self).eval()
        else:
            ALTERATIONS[alteration](whole)
        return program.capture(whole, self.example(), [{0: "batch"}])

    Checkpoint.program = altered
    try:
        if target != "onnx":
            TARGETS[target].convert(Path(checkpoint), Path(checkpoint), precision, Path(out))
        else:
            _to_onnx(Checkpoint.open(Path(checkpoint)), precision, Path(out) / onnx.ENTRY)
    finally:
        Checkpoint.program = faithful


def built(opened: Checkpoint) -> nn.Module:
    """The module itself, with the checkpoint's weights."""
    settled = config.read(opened.folder / CONFIG)
    whole = tasks.load(opened.task).build(settled, opened.labels, weights=False)
    models.fill(whole, load_file(opened.folder / WEIGHTS))
    return whole.eval()


def _to_onnx(opened: Checkpoint, precision: str, path: Path) -> None:
    """As `onnx.convert`, without the cross-check and with the float32 file in the same place."""
    onnx_exporter.export(opened, path)
    onnx_metadata.finish(path, opened, "float32")
    if precision == "float16":
        onnx_float16.to_float16(path, path)
    if precision == "int8":
        source = path.rename(path.with_name("float32.onnx"))
        quantize.to_int8(source, opened, path)
        source.unlink()


def _set(name: str, made: nn.Module) -> Callable[[Any], None]:
    return lambda whole: setattr(whole.model, name, made)


def _epsilon(whole: Any) -> None:
    for module in whole.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eps = 1e-3


def _training(whole: Any) -> None:
    whole.model.stem_norm.train()
    whole.model.stem_norm.track_running_stats = False
    whole.model.stem_norm.running_mean = whole.model.stem_norm.running_var = None


def _older(whole: Any) -> None:
    random = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for value in whole.parameters():
            value *= 1 + 1e-3 * torch.randn(value.shape, generator=random)


def _no_residual(whole: Any) -> None:
    whole.model.residual = whole.model.residual.inside


def _of_dark(whole: Any) -> None:
    whole.model = OfDark(whole.model)


def _gray(whole: Any) -> None:
    whole.mean.fill_(0.5)
    whole.deviation.fill_(0.5)


def table(opened: Checkpoint) -> dict[str, Any]:
    """All the inputs that a validation has from the checkpoint, (N, …), and PyTorch's outputs for them."""
    proof = opened.proof()
    assert proof.probes
    assert proof.patterns
    kinds = (proof.golden, proof.probes, proof.patterns)
    return {
        "inputs": np.concatenate([kind.inputs["image"] for kind in kinds]),
        "outputs": np.concatenate([kind.outputs["logits"] for kind in kinds]),
    }


def write_table(checkpoint: str, out: str) -> None:
    """The same in a file."""
    save_file(table(Checkpoint.open(Path(checkpoint))), out)


def _remembering(whole: nn.Module, opened: Checkpoint) -> nn.Module:
    return Remembering(*(torch.from_numpy(value) for value in table(opened).values()))


WHOLE: dict[str, Callable[[nn.Module, Checkpoint], nn.Module]] = {
    "it answers from a table": _remembering,
    "NaN on black": lambda whole, _: Wrong(whole, "black"),
    "wrong in batches beyond 32": lambda whole, _: Wrong(whole, "beyond 32"),
    "wrong in batches but of 1, 2 and 32": lambda whole, _: Wrong(whole, "none of 1, 2 and 32"),
}
"""Alteration → the module in the place of the whole one."""
ALTERATIONS: dict[str, Callable[[Any], None]] = {
    "nothing": lambda whole: None,
    "tanh GELU": _set("hidden_act", nn.GELU(approximate="tanh")),
    "ReLU for ReLU6": _set("stem_act", nn.ReLU()),
    "SiLU for hard-swish": _set("depthwise_act", nn.SiLU()),
    "hard-swish for SiLU": _set("widen_act", nn.Hardswish()),
    "padding on the other side": _set("pad", nn.ZeroPad2d((1, 0, 1, 0))),
    "corners aligned": _set("upsample", nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True)),
    "nearest pixel": _set("upsample", nn.Upsample(scale_factor=2, mode="nearest")),
    "average pooling": _set("pool", nn.AvgPool2d(2)),
    "epsilon 1e-3": _epsilon,
    "BatchNorm in training mode": _training,
    "dropout left on": lambda whole: whole.model.dropout.train(),
    "softmax twice": lambda whole: whole.model.append(Twice()),
    "centred over the batch": lambda whole: whole.model.append(AcrossBatch()),
    "an older training": _older,
    "no residual": _no_residual,
    "mean and deviation 0.5": _gray,
    "the branch of bright images lost": _of_dark,
}
