"""One forward and one backward pass of two samples before a training: what cannot be trained is a sentence, not hours.

    rehearse(model, config, labels=("cat", "dog"))         # raises BadInput

A copy of the model is used, and no random number of the training is drawn.
"""

import copy
import inspect
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from pipeline import tasks
from pipeline.config import Config
from pipeline.models import Normalised
from records.errors import BadInput

SAMPLES = 2


def rehearse(model: Normalised, config: Config, labels: Sequence[str]) -> None:
    """Check that a model takes the images, gives what the task needs, and can be trained. Raises BadInput."""
    name, size, task = config.model.name, config.data.image_size, tasks.load(config.task)
    device = next(model.parameters()).device
    _check_signature(name, model.model)
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        local = copy.deepcopy(model)
        image = torch.rand(SAMPLES, 3, size, size, device=device)
        with torch.no_grad():
            outputs = _named(name, _forward(name, local.eval(), image), task.OUTPUTS)
            again = _named(name, _forward(name, local, image), task.OUTPUTS)
        for key, value in outputs.items():
            _check_output(f"model {name}: {key}", value, len(labels))
            if not torch.equal(torch.nan_to_num(value), torch.nan_to_num(again[key])):
                raise BadInput(
                    f"model {name}: {key} is another one for the same input in eval mode, so no artifact could be "
                    "compared with it. Is a dropout always on? Call it with training=self.training, or remove it."
                )
        _step(name, local, image, config, labels)


def _check_signature(name: str, inner: nn.Module) -> None:
    """One image goes in. What has its signature hidden is found out by calling it."""
    try:
        parameters = inspect.signature(inner.forward).parameters.values()
    except (TypeError, ValueError):
        return
    needed = [
        one.name
        for one in parameters
        if one.default is one.empty and one.kind in {one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY}
    ]
    if len(needed) > 1:
        raise BadInput(
            f"model {name}: forward takes {len(needed)} inputs ({', '.join(needed)}), and a training gives one image. "
            "Wrap it in a module whose forward takes the image alone."
        )


def _forward(name: str, model: nn.Module, image: torch.Tensor) -> Any:
    try:
        return model(image)
    except Exception as error:
        reason = " ".join(str(error).split())[:300]
        raise BadInput(
            f"model {name}: cannot take images of {image.shape[2]}×{image.shape[3]} "
            f"({type(error).__name__}: {reason}). "
            "Set another --image-size, or mend its forward."
        ) from error


def _named(name: str, outputs: Any, wanted: tuple[str, ...]) -> dict[str, torch.Tensor]:
    """What the model returned, by the task's names."""
    values = outputs if isinstance(outputs, (tuple, list)) else (outputs,)
    if len(values) != len(wanted) or not all(isinstance(value, torch.Tensor) for value in values):
        raise BadInput(
            f"model {name}: forward returns {_described(outputs)}, the task wants {_wanted(wanted)}. Return that alone."
        )
    return dict(zip(wanted, values, strict=True))


def _described(outputs: Any) -> str:
    """`a dict of logits, aux`, `a tuple of 3`, `nothing`."""
    if outputs is None:
        return "nothing"
    if isinstance(outputs, dict):
        return f"a {type(outputs).__name__} of {', '.join(map(str, outputs))}"
    if isinstance(outputs, (tuple, list)):
        return f"a {type(outputs).__name__} of {len(outputs)} ({', '.join(type(value).__name__ for value in outputs)})"
    return f"a {type(outputs).__name__}"


def _wanted(names: tuple[str, ...]) -> str:
    return f"one tensor, {names[0]}" if len(names) == 1 else f"{len(names)} tensors, {', '.join(names)}"


def _check_output(what: str, value: torch.Tensor, classes: int) -> None:
    """(N, K): a row for each image, a number for each class."""
    if value.ndim != 2 or value.shape[0] != SAMPLES:
        raise BadInput(
            f"{what} has shape {tuple(value.shape)} for {SAMPLES} images; a row for each image is needed, "
            f"({SAMPLES}, {classes})."
        )
    if value.shape[1] != classes:
        raise BadInput(
            f"{what} has {value.shape[1]} values for each image, and the data has {classes} classes. Build it with "
            "num_classes as it is given."
        )
    if not value.is_floating_point():
        raise BadInput(f"{what} is of {str(value.dtype).removeprefix('torch.')}, and floats are needed.")


def _step(name: str, model: nn.Module, image: torch.Tensor, config: Config, labels: Sequence[str]) -> None:
    """A loss that leads back to parameters."""
    task = tasks.load(config.task)
    label = torch.arange(SAMPLES, device=image.device) % len(labels)
    outputs = _named(name, _forward(name, model.train(), image), task.OUTPUTS)
    try:
        task.loss(outputs, label, config.train.label_smoothing).backward()
    except RuntimeError as error:
        reason = str(error).splitlines()[0]
        raise BadInput(
            f"model {name}: cannot be trained ({reason}). Does its forward detach, or run without gradients?"
        ) from error
