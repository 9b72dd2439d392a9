"""Names and order for whatever a model takes and returns: tensors, tuples, dicts, dataclasses; as a plain module.

module = Interface(model, takes=("image", "age"), by_name=False, normalisation={"image": (mean, deviation)})
named_outputs({"logits": a, "aux": (b, c)})            # {"logits": a, "aux_0": b, "aux_1": c}
"""

import dataclasses
import inspect
import re
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from pipeline.scan import steady
from records.errors import BadInput

SINGLE = "output"
"""Name of a model's only output, where it gives it none."""
TRIED = 2
"""Samples of the first call."""


def named_outputs(returned: Any) -> dict[str, torch.Tensor]:
    """Return the tensors in what a model returned, by name and in order. Raises BadInput for what is no tensor.

    A dict's and a dataclass's have their names, a tuple's are numbered, what lies deeper has both: `aux_0`. None is
    left out. A tensor that is returned alone is called `SINGLE`.
    """
    if isinstance(returned, torch.Tensor):
        return {SINGLE: returned}
    outputs: dict[str, torch.Tensor] = {}
    _collect("", returned, outputs)
    if not outputs:
        raise BadInput(f"forward returns {described(returned)} and no tensor. Return what it computes.")
    return outputs


def _collect(place: str, value: Any, outputs: dict[str, torch.Tensor]) -> None:
    if value is None:
        return
    if isinstance(value, torch.Tensor):
        name = re.sub(r"\W", "_", place)
        if name in outputs:
            raise BadInput(f"forward returns two outputs of the name {name}. Rename one.")
        outputs[name if not name[:1].isdigit() else f"{SINGLE}_{name}"] = value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            _collect(_below(place, str(key)), item, outputs)
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        for field in dataclasses.fields(value):
            _collect(_below(place, field.name), getattr(value, field.name), outputs)
    elif isinstance(value, (tuple, list)):
        names = getattr(value, "_fields", None) or [str(index) for index in range(len(value))]
        for name, item in zip(names, value, strict=True):
            _collect(_below(place, name), item, outputs)
    else:
        where = f"{place}: " if place else ""
        raise BadInput(f"forward returns {where}{described(value)}, which is no tensor. Return tensors alone.")


def _below(place: str, name: str) -> str:
    return f"{place}_{name}" if place else name


def described(returned: Any) -> str:
    """Return what a model returned in words: `nothing`, `a dict of logits, aux` or `a tuple of 2 (Tensor, int)`."""
    if returned is None:
        return "nothing"
    kind = f"a {type(returned).__name__}"
    if isinstance(returned, Mapping):
        return f"{kind} of {', '.join(map(str, returned)) or 'nothing'}"
    if isinstance(returned, (tuple, list)):
        types = ", ".join(type(value).__name__ for value in returned)
        return f"{kind} of {len(returned)}{f' ({types})' if types else ''}"
    return kind


class Interface(nn.Module):
    """What is exported of somebody's model: inputs in order, floats in [0, 1] for pictures; outputs as a tuple."""

    def __init__(
        self,
        model: nn.Module,
        takes: Sequence[str],
        by_name: bool,
        normalisation: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    ):
        """Wrap a model.

        by_name: forward is called with its inputs by name. normalisation: of inputs that are pictures, mean and
        deviation per channel, which this module applies.
        """
        super().__init__()
        self.model = model
        self.takes, self.by_name, self.normalised = tuple(takes), by_name, tuple(normalisation)
        for name, values in normalisation.items():
            for kind, value in zip(("mean", "deviation"), values, strict=True):
                self.register_buffer(f"{kind}_{name}", torch.tensor(value, dtype=torch.float32).view(1, -1, 1, 1))

    def arguments(self, *inputs: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return what the user's model is called with, by name, for inputs (N, …) in order."""
        return {
            name: (value - getattr(self, f"mean_{name}")) / getattr(self, f"deviation_{name}")
            if name in self.normalised
            else value
            for name, value in zip(self.takes, inputs, strict=True)
        }

    def returned(self, *inputs: torch.Tensor) -> Any:
        """Return what the user's model itself returns."""
        values = self.arguments(*inputs)
        return self.model(**values) if self.by_name else self.model(*values.values())

    def forward(self, *inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return the outputs of the model in order for inputs (N, …) in order."""
        return tuple(named_outputs(self.returned(*inputs)).values())


def parameters(model: nn.Module) -> tuple[list[str], list[str]]:
    """Return the names of forward's parameters that can be inputs, and of those the ones that it needs."""
    try:
        found = list(inspect.signature(model.forward).parameters.values())
    except (TypeError, ValueError):
        return [], []
    several = {inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD}
    named = [parameter for parameter in found if parameter.kind not in several]
    return [parameter.name for parameter in named], [
        parameter.name for parameter in named if parameter.default is parameter.empty
    ]


def first_call(interface: Interface, inputs: Mapping[str, torch.Tensor]) -> tuple[dict[str, torch.Tensor], bool]:
    """Return what the model gives for two samples, by its own names, and True if it takes but one. Raises BadInput."""
    two, one = ({name: value[:count] for name, value in inputs.items()} for count in (TRIED, 1))
    try:
        return _called(interface, two, TRIED), False
    except BadInput as error:
        try:
            return _called(interface, one, 1), True
        except BadInput:
            raise error from None


def _called(interface: Interface, inputs: Mapping[str, torch.Tensor], count: int) -> dict[str, torch.Tensor]:
    shapes = ", ".join(f"{name} {tuple(value.shape)}" for name, value in inputs.items())
    with torch.no_grad():
        try:
            first, second = (interface(*inputs.values()) for _ in range(2))
            returned = interface.returned(*inputs.values())
        except BadInput as error:
            raise BadInput(f"model: {error}") from error
        except Exception as error:
            reason = " ".join(str(error).split())[:300]
            raise BadInput(
                f"model: cannot take {shapes} ({type(error).__name__}: {reason}). Give other --inputs, or another "
                "--size."
            ) from error
    names = list(named_outputs(returned))
    outputs = dict(zip(names, first, strict=True))
    steady(outputs, dict(zip(names, second, strict=True)))
    for name, value in outputs.items():
        if value.is_complex() or value.is_sparse or value.is_quantized:
            raise BadInput(f"model: {name} is {value.dtype}, which no format holds. Return its parts as floats.")
        if value.ndim == 0 or len(value) != count:
            raise BadInput(
                f"model: {name} has shape {tuple(value.shape)} for {count} samples; a row for each is needed. Return "
                "what belongs to each sample, not to the batch."
            )
    return outputs
