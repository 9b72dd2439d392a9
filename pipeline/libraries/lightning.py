"""A LightningModule of yours, `lightning:package.module:Class`, built with the arguments that its checkpoint keeps."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline import weights as files
from pipeline.libraries import Built, Options, call, checked
from pipeline.libraries.own import lookup

NEEDS = "lightning"
KEPT = "hyper_parameters"
"""Key of a Lightning checkpoint: the arguments of the constructor, as `save_hyperparameters` kept them."""


def build(name: str, options: Options, weights: Path | None) -> Built:
    """Return the module that a class gives for the checkpoint's arguments, `options` instead. Raises BadInput."""
    place, _, attribute = name.rpartition(":")
    arguments = {**kept(weights), **options}
    return Built(checked(call(lookup(place, attribute, name), arguments, f"lightning:{name}"), f"lightning:{name}"))


def kept(weights: Path | None) -> dict[str, Any]:
    """Return the arguments in a checkpoint; none: it keeps none."""
    if weights is None:
        return {}
    content, _ = files.read(weights, trust=False)
    arguments = content.get(KEPT, {}) if isinstance(content, Mapping) else {}
    return {str(name): value for name, value in arguments.items()}
