"""timm's models by name, `timm:mobilenetv4_conv_small`, with the preparation that timm configures."""

import math
from pathlib import Path
from typing import Any

from torch import nn

from pipeline.libraries import Built, Declared, Options, call, checked
from records.errors import unknown

NEEDS = "timm"


def build(name: str, options: Options, weights: Path | None) -> Built:
    """Return a model with random weights: `weights` are loaded later. Raises BadInput."""
    import timm
    from timm.data.config import resolve_model_data_config

    architecture = name.partition(".")[0]
    if not timm.is_model(architecture):
        raise unknown("timm model", architecture, timm.list_models())
    spelling = f"timm:{name}"
    module = checked(call(timm.create_model, {"model_name": name, "pretrained": False, **options}, spelling), spelling)
    return Built(module, _declared(resolve_model_data_config(module)))


def _declared(config: dict[str, Any]) -> Declared:
    """Return timm's own preparation for validation.

    https://github.com/huggingface/pytorch-image-models, timm/data/transforms_factory.py: the shorter side becomes
    floor(size ÷ crop_pct), and the centre is cropped.
    """
    _, height, width = config["input_size"]
    share = float(config["crop_pct"])
    return Declared(
        size=(height, width),
        resize=(math.floor(height / share), math.floor(width / share)),
        interpolation=str(config["interpolation"]),
        mean=tuple(config["mean"]),
        deviation=tuple(config["std"]),
    )


def pretrained(name: str, options: Options) -> nn.Module:
    """Return a model with the weights that timm offers for it, downloaded once."""
    import timm

    module: nn.Module = timm.create_model(name, pretrained=True, **options)
    return module
