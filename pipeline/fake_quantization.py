"""Fake quantization in the last epochs of a training, so that the weights learn to live with 256 steps.

    faked = FakeQuantization(model, inputs)          # finds the layers; the model itself is not changed
    freeze_statistics(model)
    with faked:
        loss = criterion(model(image), labels)       # every layer reads and gives values on integer steps
    plain = faked.rounded(model)                     # an ordinary float32 model, its weights on the steps

Weights are symmetric int8 for each output channel, activations uint8 between two ends for each tensor, as exporters
make them. Rounding has no slope, so gradients pass it straight through, and are zero beyond the ends (Jacob et al.
2018, https://arxiv.org/abs/1712.05877). Batch normalisation after a convolution multiplies each output channel by a
factor, which its scale takes up: folded or not, a weight has the same integer. So nothing needs to be folded here.

It works on the functions that PyTorch computes, not on modules: a network needs no certain form, and what leaves the
`with` is untouched.
"""

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from records.errors import BadInput

WEIGHT_STEPS = 127
"""The greatest integer of a weight; its least is the negative."""
STEPS = 255
"""The greatest integer of an activation; its least is 0."""
FOLLOWING = 0.05
"""Share of a new batch's extremes in the moving average of the ends."""
CONVOLUTIONS = {torch.conv1d, torch.conv2d, torch.conv3d, functional.linear}
TRANSPOSED = {torch.conv_transpose1d, torch.conv_transpose2d, torch.conv_transpose3d}
GROUPS = 6
"""Place of `groups` among the arguments of a transposed convolution."""
FUSED = {
    functional.relu,
    functional.relu_,
    functional.relu6,
    torch.relu,
    torch.relu_,
    torch.Tensor.relu,
    torch.Tensor.relu_,
}
"""What integer kernels compute together with the layer before it, whose own result is never stored."""


def fake_weight(weight: torch.Tensor, groups: int = 0) -> torch.Tensor:
    """Return a weight on the steps of int8 for each output channel; its gradient is the result's.

    groups: of a transposed convolution, whose weight is (inputs, outputs of a group, …); 0: (outputs, …).
    """
    grouped = weight.detach().float().unflatten(0, (groups or len(weight), -1))
    channel = (0, 2) if groups else (0,)
    others = [axis for axis in range(grouped.ndim) if axis not in channel]
    step = grouped.abs().amax(others, keepdim=True) / WEIGHT_STEPS
    step = torch.where(step == 0, 1.0, step)
    rounded: torch.Tensor = ((grouped / step).round() * step).reshape(weight.shape).to(weight.dtype)
    return weight + (rounded - weight).detach()


def fake_activation(values: torch.Tensor, ends: torch.Tensor) -> torch.Tensor:
    """Return values on the 256 steps between two ends (2,) and zero; the gradient of what lies beyond them is zero.

    Between ends that are no numbers, nothing is one: a training that diverges has to be seen.
    """
    least, greatest = ends[0].clamp(max=0), ends[1].clamp(min=0)
    step = (greatest - least) / STEPS
    step = torch.where(step == 0, 1.0, step)
    zero = (-least / step).round().to(torch.int32)
    on_steps: torch.Tensor = torch.fake_quantize_per_tensor_affine(values.float(), step, zero, 0, STEPS)
    return on_steps.to(values.dtype)


def freeze_statistics(model: nn.Module) -> None:
    """Let batch normalisation use its running statistics, as the exported model will, and change them no more."""
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.track_running_stats:
            module.eval()


class FakeQuantization(TorchFunctionMode):
    """A context in which the layers of a model compute on integer steps; the ends follow the batches of a training.

    What a layer reads is on steps for all that reads it afterwards, such as the sum at the end of a residual block.
    """

    def __init__(self, model: nn.Module, name: str, inputs: Iterable[torch.Tensor]):
        """Find the layers. name: in messages. inputs: a few samples, which are run in eval mode. Raises BadInput."""
        super().__init__()
        self._names = {id(tensor): key for key, tensor in (*model.named_parameters(), *model.named_buffers())}
        self._seen = dict[int, tuple[torch.Tensor, torch.Tensor]]()
        """By id, a tensor and the same on steps: an id is one tensor's as long as that lives."""
        found, training = _Found(self._names), model.training
        nowhere = torch.full((2,), torch.nan, device=next(model.parameters()).device)
        with torch.no_grad():
            with found:
                model.eval()(*inputs)
            self.groups = found.groups
            """Name of each layer's weight → the groups of a transposed convolution, else 0."""
            self.ends = {_output(key): nowhere.clone() for key in found.results()}
            """Where values are on steps → the least and the greatest, (2,); NaN before the first batch."""
            self._new: torch.Tensor | None = nowhere
            with self:
                model(*inputs)
            self._new = None
        model.train(training)
        if not self.groups:
            raise BadInput(
                f"model {name}: has no convolution and no linear layer whose integers a training could take into "
                "account. Train it without --quantize-aware."
            )

    def __torch_function__(
        self,
        function: Callable[..., Any],
        types: Any,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Return what a function of PyTorch computes; of a layer, on integer steps."""
        kwargs = kwargs or {}
        key = _layer(function, args, kwargs, self._names)
        if key is None:
            if _in_place(function, args, kwargs):
                self._seen.pop(id(args[0]), None)
            return function(*(self._twin(value) for value in args), **kwargs)
        if key in self.groups:
            values, *others = args
            if others:
                others[0] = fake_weight(others[0], self.groups[key])
            else:
                kwargs = {**kwargs, "weight": fake_weight(kwargs["weight"], self.groups[key])}
            args = (self._on_steps(values, _input(key)), *others)
        result = function(*args, **kwargs)
        return self._on_steps(result, _output(key)) if _output(key) in self.ends else result

    def __exit__(self, *error: Any) -> None:
        self._seen.clear()
        super().__exit__(*error)  # type: ignore[no-untyped-call]  # PyTorch's modes have no annotations

    def _twin(self, value: Any) -> Any:
        """Return an argument with the tensors that a layer has read on their steps."""
        if isinstance(value, (list, tuple)) and type(value) in {list, tuple}:
            return type(value)(self._twin(part) for part in value)
        return self._seen.get(id(value), (value, value))[1]

    def _on_steps(self, values: torch.Tensor, place: str) -> torch.Tensor:
        """Return values on steps; in a training step, the ends of this place follow them first."""
        if id(values) in self._seen:
            return self._seen[id(values)][1]
        if self._new is not None:
            self.ends.setdefault(place, self._new.clone())
        ends = self.ends[place]
        if torch.is_grad_enabled():
            extremes = torch.stack(torch.aminmax(values.detach().float()))
            ends.copy_(torch.where(ends.isnan(), extremes, ends.lerp(extremes, FOLLOWING)))
        on_steps = values.clone() if self._new is not None else fake_activation(values, ends)
        self._seen[id(values)] = values, on_steps
        self._seen[id(on_steps)] = on_steps, on_steps
        return on_steps

    @property
    def began(self) -> bool:
        """True if a training step was computed so."""
        return not all(bool(ends.isnan().all()) for ends in self.ends.values())

    def load(self, ends: Mapping[str, torch.Tensor]) -> None:
        """Go on from the ends (2,) of a training that was interrupted. Raises ValueError for those of other places."""
        if ends.keys() != self.ends.keys() or any(values.shape != (2,) for values in ends.values()):
            raise ValueError("ends of other layers")
        for key, values in ends.items():
            self.ends[key].copy_(values)

    def rounded(self, model: nn.Module) -> nn.Module:
        """Return a copy of a model of the same names with the weights of all layers on the steps of their integers."""
        plain = copy.deepcopy(model)
        parameters = dict(plain.named_parameters())
        with torch.no_grad():
            for key, groups in self.groups.items():
                parameters[key].copy_(fake_weight(parameters[key], groups))
        return plain


class _Found(TorchFunctionMode):
    """Notes the layers that run, and what their results go into."""

    def __init__(self, names: Mapping[int, str]):
        super().__init__()
        self.groups: dict[str, int] = {}
        self._names, self._made, self._tensors = names, dict[int, str](), list[torch.Tensor]()
        self._ends: dict[str, str] = {}
        self._fused: set[str] = set()

    def __torch_function__(
        self,
        function: Callable[..., Any],
        types: Any,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        result = function(*args, **(kwargs or {}))
        key = _layer(function, args, kwargs or {}, self._names)
        source = self._made.get(id(args[0])) if args else None
        if key is not None and function is not functional.batch_norm:
            self.groups[key] = (args[GROUPS] if len(args) > GROUPS else 1) if function in TRANSPOSED else 0
            self._note(result, key, key)
        elif key is not None and source is not None:
            self._note(result, source, key)
        elif function in FUSED and source is not None:
            self._fused.add(source)
        else:
            self._made.pop(id(result), None)  # such as of `+=`, which gives the tensor that it was given
        return result

    def _note(self, result: torch.Tensor, layer: str, end: str) -> None:
        self._tensors.append(result)  # an id is one tensor's as long as that lives
        self._made[id(result)] = layer
        self._ends[layer] = end

    def results(self) -> list[str]:
        """Return the layers, or the normalisations after them, whose results are stored."""
        return [end for layer, end in self._ends.items() if layer not in self._fused]


def _layer(
    function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any], names: Mapping[int, str]
) -> str | None:
    """Return the name of a layer's weight, or of a batch normalisation's running mean; None: it is neither."""
    if function in CONVOLUTIONS or function in TRANSPOSED:
        named = "weight"
    elif function is functional.batch_norm:
        named = "running_mean"
    else:
        return None
    return names.get(id(args[1] if len(args) > 1 else kwargs.get(named))) if args else None


def _in_place(function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> bool:
    """True if a function changes its first argument."""
    name = getattr(function, "__name__", "")
    written = (name.endswith("_") and not name.endswith("__")) or name.startswith("__i")
    return bool(args) and (written or kwargs.get("inplace") is True or any(value is True for value in args))


def _input(key: str) -> str:
    return f"{key}.input"


def _output(key: str) -> str:
    return f"{key}.output"
