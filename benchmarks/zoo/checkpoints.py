"""A checkpoint of a network with random weights that bear a signal: what the exporters and runtimes are tried on.

    checkpoint = make(network, Path("runs/zoo-resnet18"))

No training: batch normalisation's statistics are estimated on batches of the digits, parts that start as good as
switched off (the last normalisation of a residual branch, layer scales, a head of zeros) are switched on, and the head
is scaled so that the logits of different images differ by about one. A network that gives the same for every image
proves nothing about its conversion.
"""

import re
import sys
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn

from benchmarks.zoo.modules import SIZE
from benchmarks.zoo.networks import Network, named
from pipeline import data, tasks, train
from pipeline.checkpoint import Checkpoint
from pipeline.config import Config, DataConfig, ModelConfig, TrainConfig
from pipeline.detectors import Detector
from pipeline.golden import of_training

BATCHES = 4
"""Of training images, for the statistics."""
SAMPLES, FEW = 32, 16
"""In a batch, in golden and in calibration; of images greater than the zoo's, fewer."""
SCORES = re.compile(
    r"classification_head\.(module_list\.\d+(\.1)?|cls_logits)$|cls_logits$|cls_score$|mask_fcn_logits$"
)
"""Layers of torchvision's detectors that say how sure they are of a class, or of a mask's pixel."""
LAYERS = (nn.Linear, nn.Conv2d)
"""What may be a head."""
OFF = 1e-3
"""A scale that is nowhere greater starts as good as switched off."""


def configuration(network: Network) -> Config:
    """Return the settled config of a run on digits in the network's size."""
    samples = SAMPLES if network.size <= SIZE else FEW
    dataset = "digits" if network.task == "classification" else "scenes"
    return train.settle(
        Config(
            task=network.task,
            data=DataConfig(dataset=dataset, image_size=network.size, golden=samples, calibration=samples),
            model=ModelConfig(name=network.model, options=dict(network.options)),
            train=TrainConfig(epochs=1),
        )
    )


def make(network: Network, run: Path) -> Checkpoint:
    """Write `run/checkpoint`. Raises BadInput where the network cannot be built or gives no signal."""
    config = configuration(network)
    train.make_repeatable(config.train.seed)
    task, images = tasks.load(config.task), data.load(config)
    model = task.build(config, images.labels, weights=True)
    shown = images.train.batch(range(BATCHES * config.data.golden)).inputs[data.IMAGE]
    decoding = {}
    if isinstance(model, Detector):
        find_something(model, shown)
        decoding = model.decoding.record()
    else:
        bear_signal(model, shown, len(images.labels))
    golden = of_training(images, config, decoding=decoding)
    environment = train.environment(torch.device("cpu"), config.train.seed)
    progress = {"epoch": 0, "step": 0, "epochs": 0, "finished": True}
    return golden.write(run / "checkpoint", model, {}, environment, progress, training={})


def bear_signal(model: nn.Module, images: torch.Tensor, classes: int) -> None:
    """Make a model with random weights (in place, left in eval mode) answer differently to different images.

    images: (N, 3, H, W) float32 in [0, 1].
    """
    heads = [module for module in model.modules() if isinstance(module, LAYERS) and _outputs(module) == classes]
    with torch.no_grad():
        _switch_on(model, heads)
        _estimate_statistics(model, images)
        logits = model.eval()(images).movedim(1, -1).flatten(0, -2)  # (N, K), or of each pixel
        gain = 1 / logits.std(dim=0).mean().clamp(min=1e-6)
        rectified = float(logits.min()) >= 0  # squeezenet's end with a ReLU: a bias below it would silence them
        for head in heads:
            head.weight *= gain
            if head.bias is not None:
                head.bias.copy_((head.bias - (0 if rectified else logits.mean(dim=0))) * gain)


def find_something(model: Detector, images: torch.Tensor) -> None:
    """Make a detector with random weights (in place, left in eval mode) find things: other ones in other images.

    images: (N, 3, H, W) float32 in [0, 1].
    """
    norms = [module for module in model.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    torch.manual_seed(0)
    with torch.no_grad():
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None
        model.train()
        for batch in images.split(len(images) // BATCHES):
            cast(Any, model.model).backbone(model.normalised(batch))
        model.eval()
        for name, module in model.named_modules():
            if isinstance(module, LAYERS) and SCORES.search(name):
                _spread(model, module, images[:8])


def _spread(model: Detector, head: nn.Linear | nn.Conv2d, images: torch.Tensor) -> None:
    """Scale a head so that what it gives differs by about two from place to place, and is -2 in the middle."""
    given: list[torch.Tensor] = []
    handle = head.register_forward_hook(lambda module, inputs, output: given.append(output))
    nn.init.normal_(head.weight, std=0.1)
    bias = head.bias if head.bias is not None else torch.zeros(())
    bias.zero_()
    model(images)
    handle.remove()
    values = torch.cat([output.flatten() for output in given])
    head.weight *= 2 / values.std().clamp(min=1e-6)
    bias.fill_(-2.0)


def _outputs(module: nn.Linear | nn.Conv2d) -> int:
    """Return how many values a layer gives; a convolution, at one place."""
    return module.out_features if isinstance(module, nn.Linear) else module.out_channels


def _switch_on(model: nn.Module, heads: list[nn.Linear | nn.Conv2d]) -> None:
    for head in heads:
        if float(head.weight.abs().max()) < OFF:
            nn.init.normal_(head.weight, std=0.02)
    biases = {id(module.bias) for module in model.modules() if getattr(module, "bias", None) is not None}
    for name, parameter in model.named_parameters():
        scale = id(parameter) not in biases and not name.endswith("bias")
        if scale and parameter.is_floating_point() and float(parameter.abs().max()) < OFF:
            if max(parameter.shape, default=1) == parameter.numel():  # one axis: a scale of channels
                parameter.fill_(0.3)
            else:
                nn.init.normal_(parameter, std=0.02)


def _estimate_statistics(model: nn.Module, images: torch.Tensor) -> None:
    norms = [module for module in model.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain average of the batches
    model.train()
    for batch in images.split(len(images) // BATCHES):
        model(batch)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum


if __name__ == "__main__":
    name, folder = sys.argv[1:]
    make(named(name)[0], Path(folder))
