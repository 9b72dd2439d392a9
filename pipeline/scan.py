"""Looks a model over before anything is computed with it: what spoils a comparison, or makes it vacuous.

    findings = scan(model)                     # raises BadInput for what nothing can be made of
    steady(outputs, again)                     # raises BadInput where the same input gives another output

What can be mended without changing what the model computes for its user is mended, and said.
"""

import torch
from torch import nn

from records.errors import BadInput, some

BATCH_NORM = nn.modules.batchnorm._BatchNorm


def scan(model: nn.Module) -> list[str]:
    """Put a model into eval mode and float32 on the CPU, in place; return what there is to say. Raises BadInput."""
    findings = [*_modes(model), *_statistics(model)]
    tensors = dict(model.named_parameters()) | dict(model.named_buffers())
    if meta := [name for name, value in tensors.items() if value.is_meta]:
        raise BadInput(
            f"{len(meta)} of the model's {len(tensors)} tensors have no values, only shapes ({some(meta)}). Load "
            "weights: --weights FILE, or build it on the CPU."
        )
    if bad := [name for name, value in tensors.items() if value.is_floating_point() and not value.isfinite().all()]:
        raise BadInput(
            f"{len(bad)} of the model's tensors hold NaN or infinity ({some(bad)}). Its training diverged, or its "
            "file is damaged: take an earlier one."
        )
    if halves := sorted({str(value.dtype) for value in tensors.values() if value.dtype in _HALF}):
        findings.append(f"weights were {', '.join(halves)}; all is computed in float32")
    if devices := sorted({str(value.device) for value in tensors.values()} - {"cpu"}):
        findings.append(f"weights were on {', '.join(devices)}; golden is computed on the CPU")
    if torch.get_float32_matmul_precision() != "highest" or torch.backends.cuda.matmul.allow_tf32:
        torch.set_float32_matmul_precision("highest")
        findings.append("TF32 was allowed, which is ten bits of float32's 23; it was switched off")
    model.cpu().float().eval()
    if zeros := [name for name, layer in _heads(model) if not layer.weight.any()]:
        findings.append(f"a head of zeros: {some(zeros)}. Were its weights loaded?")
    return findings


_HALF = {torch.float16, torch.bfloat16, torch.float64}


def _modes(model: nn.Module) -> list[str]:
    """Return what was in training mode; eval mode is what is exported."""
    modes = {name or "the model": module.training for name, module in model.named_modules()}
    training = [name for name, mode in modes.items() if mode]
    if not training:
        return []
    norms = [module.training for module in model.modules() if isinstance(module, BATCH_NORM)]
    findings = []
    if any(norms) and not all(norms):
        findings.append(
            f"{sum(norms)} of {len(norms)} BatchNorms were in training mode and the others were not; all are in eval "
            "mode now, which is what every artifact computes"
        )
    elif len(training) == len(modes):
        findings.append("the model was in training mode; it was put into eval mode")
    else:
        findings.append(f"{len(training)} modules were in training mode ({some(training)}); all are in eval mode now")
    return findings


def _statistics(model: nn.Module) -> list[str]:
    """Return what is wrong with the running statistics of normalisation."""
    norms = {name: module for name, module in model.named_modules() if isinstance(module, BATCH_NORM)}
    without = [name for name, module in norms.items() if module.running_mean is None]
    untouched = [
        name
        for name, module in norms.items()
        if module.running_mean is not None
        and module.running_var is not None
        and not module.running_mean.is_meta
        and not module.running_mean.any()
        and bool((module.running_var == 1).all())
    ]
    findings = []
    if without:
        findings.append(
            f"{len(without)} BatchNorms keep no statistics ({some(without)}): what a sample gives depends on the "
            "batch it is in"
        )
    if untouched:
        findings.append(
            f"{len(untouched)} of {len(norms)} BatchNorms have the statistics of a new model ({some(untouched)}). "
            "Were its weights loaded, and was it trained?"
        )
    return findings


def _heads(model: nn.Module) -> list[tuple[str, nn.Linear]]:
    """Return the last linear layer, if there is one."""
    return [(name, module) for name, module in model.named_modules() if isinstance(module, nn.Linear)][-1:]


def steady(outputs: dict[str, torch.Tensor], again: dict[str, torch.Tensor]) -> None:
    """Check that two calls with the same inputs in eval mode gave the same. Raises BadInput."""
    for name, value in outputs.items():
        if not torch.equal(torch.nan_to_num(value), torch.nan_to_num(again[name])):
            raise BadInput(
                f"{name} is another one for the same input in eval mode, so no artifact could be compared with it. Is "
                "a dropout always on? Call it with training=self.training, or remove it."
            )
