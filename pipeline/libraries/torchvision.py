"""torchvision's models by name, `resnet18`, and the textbooks' `simple_cnn`."""

from pathlib import Path
from typing import cast

import torchvision
from torch import nn

from pipeline import models
from pipeline.libraries import Built, Options, call, checked
from records.errors import unknown

NEEDS = ""


def build(name: str, options: Options, weights: Path | None) -> Built:
    """Return a model with random weights. Raises BadInput.

    It declares no preparation: torchvision's is that of its own weights, and yours may have been trained with another.
    """
    if name == "simple_cnn":
        return Built(call(models.SimpleCNN, {"num_classes": 10, **options}, name))
    if name not in torchvision.models.list_models():
        raise unknown("model", name, [*torchvision.models.list_models(), "simple_cnn"])
    constructor = torchvision.models.get_model_builder(name)
    options = {
        "weights": None,
        **({"weights_backbone": None} if "detection" in constructor.__module__ else {}),
        **options,
    }
    if name in models.AUXILIARY:
        options = {"aux_logits": False, "init_weights": False, **options}
    return Built(checked(call(constructor, options, name), name))


def pretrained(name: str, options: Options) -> nn.Module:
    """Return a model with torchvision's newest weights for it, downloaded once."""
    return cast(nn.Module, torchvision.models.get_model(name, weights="DEFAULT"))
