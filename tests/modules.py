"""The module that a checkpoint of a training was captured from, with its weights."""

from safetensors.torch import load_file
from torch import nn

from pipeline import checkpoint as names
from pipeline import config as configs
from pipeline import models, tasks
from pipeline.checkpoint import Checkpoint


def built(opened: Checkpoint) -> nn.Module:
    """Return it in eval mode, built anew from the configuration."""
    settled = configs.read(opened.folder / names.CONFIG)
    model = tasks.load(opened.task).build(settled, opened.labels, weights=False)
    models.fill(model, load_file(opened.folder / names.WEIGHTS))
    return model.eval()
