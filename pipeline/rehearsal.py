"""One forward and one backward pass of two samples before a training: what cannot be trained is a sentence, not hours.

    rehearse(model, config, data.train.batch([0, 1]), ("cat", "dog"))      # raises BadInput

A copy of the model is used, and no random number of the training is drawn.
"""

import copy
from collections.abc import Collection, Sequence
from typing import Any

import torch
from torch import nn

from pipeline import tasks
from pipeline.config import Config
from pipeline.golden import check_room
from pipeline.models import named
from pipeline.outputs import parameters
from pipeline.scan import steady
from pipeline.tasks import Batch, Tensors
from records.errors import BadInput

SAMPLES = 2
"""In its batch: of one, BatchNorm has no statistics."""


def rehearse(model: nn.Module, config: Config, batch: Batch, labels: Sequence[str]) -> None:
    """Check that a model takes the images, gives what the task needs, and can be trained. Raises BadInput.

    batch: a few samples, prepared.
    """
    name, task = config.model.name, tasks.load(config.task)
    device = next(model.parameters()).device
    batch = batch.to(device)
    _check_signature(name, getattr(model, "model", model))
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        local = copy.deepcopy(model)
        try:
            with torch.no_grad():
                outputs, again = (named(_forward(local.eval(), batch), task.OUTPUTS) for _ in range(2))
            _check_outputs(outputs, again, len(next(iter(batch.inputs.values()))), task.INTEGERS)
            check_room(outputs, config.data.golden)
            if why := task.check(outputs, labels, config.data.size):
                raise BadInput(why)
            task.step(local.train(), batch, config.train)[0].backward()
        except BadInput as error:
            raise BadInput(f"model {name}: {error}") from error
        except Exception as error:
            reason = " ".join(str(error).split())[:300]
            raise BadInput(
                f"model {name}: cannot be trained ({reason}). Does its forward detach, or run without gradients?"
            ) from error


def _check_signature(name: str, inner: nn.Module) -> None:
    """Raise BadInput if forward needs more than one input. A hidden signature is found out by calling forward."""
    _, needed = parameters(inner)
    if len(needed) > 1:
        raise BadInput(
            f"model {name}: forward takes {len(needed)} inputs ({', '.join(needed)}), and a training gives one image. "
            "Wrap it in a module whose forward takes the image alone."
        )


def _forward(model: nn.Module, batch: Batch) -> Any:
    images = next(iter(batch.inputs.values()))
    try:
        return model(*batch.inputs.values())
    except Exception as error:
        reason = " ".join(str(error).split())[:300]
        raise BadInput(
            f"cannot take images of {images.shape[2]}×{images.shape[3]} ({type(error).__name__}: {reason}). "
            "Set another --image-size, or mend its forward."
        ) from error


def _check_outputs(outputs: Tensors, again: Tensors, samples: int, integers: Collection[str]) -> None:
    """Check that outputs are floats but for those that are to be integers, a row for each sample, and the same for the
    same input. Raises BadInput.
    """
    for name, value in outputs.items():
        if not value.is_floating_point() and name not in integers:
            raise BadInput(f"{name} is of {str(value.dtype).removeprefix('torch.')}, and floats are needed.")
        if value.ndim == 0 or len(value) != samples:
            raise BadInput(f"{name} has shape {tuple(value.shape)} for {samples} images; a row for each is needed.")
    steady(outputs, again)
