"""The `nn.Module`s that are trained: torchvision's, the textbooks' small CNN, and those of other libraries, or yours.

    model = build(config, classes=10)        # takes image (N, 3, H, W) float32 RGB in [0, 1], gives logits (N, 10)

Normalisation is part of the model, so that no app can forget or repeat it.
"""

import copy
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, cast

import torch
import torchvision
from torch import nn
from torch.nn import functional

from pipeline import detectors, libraries
from pipeline import weights as files
from pipeline.config import DETECTORS, Config
from pipeline.detectors import Decoding, Detector, Tensors
from pipeline.outputs import described
from records.errors import BadInput, unknown

OWN_SIZE = {
    "simple_cnn": 28,
    "inception_v3": 299,
    "ssdlite320_mobilenet_v3_large": 320,
    "ssd300_vgg16": 300,
    "fasterrcnn_mobilenet_v3_large_320_fpn": 320,
}
"""Input sizes of models that are made for one, in pixels."""

PLACES = {
    "classification": torchvision.models,
    "detection": torchvision.models.detection,
    "instances": torchvision.models.detection,
    "segmentation": torchvision.models.segmentation,
    "multilabel": torchvision.models,
}
"""Where torchvision has the models of a task."""

WITH_MASKS = "maskrcnn_"
"""What names of detectors that give masks, too, begin with."""

BATCH = 32
"""Samples of one call, where nothing else is asked for."""
EXAMPLES = {
    "classification": "mobilenet_v3_small",
    "detection": "ssdlite320_mobilenet_v3_large",
    "instances": "maskrcnn_resnet50_fpn",
    "segmentation": "lraspp_mobilenet_v3_large",
    "multilabel": "mobilenet_v3_small",
}
"""A model of each task."""

AUXILIARY = ("googlenet", "inception_v3")
"""Models with further classifiers for training, which no target needs."""


class Normalised(nn.Module):
    """What is trained and exported: [0, 1] RGB in, the inner model on normalised input out."""

    mean: torch.Tensor
    deviation: torch.Tensor

    def __init__(self, model: nn.Module, mean: tuple[float, ...], deviation: tuple[float, ...]):
        super().__init__()
        self.model = model
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1))
        self.register_buffer("deviation", torch.tensor(deviation).view(1, -1, 1, 1))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Return what the model returns for an image (N, 3, H, W) in [0, 1]."""
        output: torch.Tensor = self.model((image - self.mean) / self.deviation)  # torch.jit.script knows no `cast`
        return output


class Segmenting(Normalised):
    """A segmentation model of torchvision's, which gives a dict: its logits alone."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Return the logits (N, K, H, W) of an image (N, 3, H, W) in [0, 1]."""
        output: torch.Tensor = self.model((image - self.mean) / self.deviation)["out"]
        return output


class SimpleCNN(nn.Module):
    """The textbooks' network for 28×28 gray digits: 3×3 convolutions with max-pooling, `view`, two linear layers.

    Its input is RGB like everybody's; the first thing it does is to make it gray (ITU-R BT.601 luma).
    """

    luma: torch.Tensor

    def __init__(
        self, num_classes: int, image_size: tuple[int, int] = (28, 28), convolutions: int = 2, hidden: int = 128
    ):
        super().__init__()
        if convolutions not in (1, 2):
            raise BadInput(f"model.options: convolutions = {convolutions}; 1 or 2 are allowed. Change it.")
        self.register_buffer("luma", torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1))
        self.conv1 = nn.Conv2d(1, 32, 3, padding=1)
        self.conv2 = nn.Conv2d(32, 64, 3, padding=1) if convolutions == 2 else None
        channels, reduced = (64, 4) if self.conv2 else (32, 2)
        self.flat = channels * (image_size[0] // reduced) * (image_size[1] // reduced)
        self.fc1 = nn.Linear(self.flat, hidden)
        self.fc2 = nn.Linear(hidden, num_classes)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Return logits (N, K) for an image (N, 3, H, W)."""
        x = (image * self.luma).sum(dim=1, keepdim=True)  # (N, 1, H, W)
        x = functional.max_pool2d(functional.relu(self.conv1(x)), 2)  # (N, 32, H/2, W/2)
        if self.conv2 is not None:
            x = functional.max_pool2d(functional.relu(self.conv2(x)), 2)  # (N, 64, H/4, W/4)
        x = x.view(-1, self.flat)
        logits: torch.Tensor = self.fc2(functional.relu(self.fc1(x)))
        return logits


def predict(model: nn.Module, inputs: Tensors, names: Iterable[str], batch: int = BATCH) -> Tensors:
    """Return the outputs of a model in eval mode for inputs (N, …) in its order, computed in batches."""
    names = tuple(names)
    with torch.no_grad():
        parts = [
            named(model(*part), names)
            for part in zip(*(tensor.split(batch) for tensor in inputs.values()), strict=True)
        ]
    return {name: torch.cat([part[name] for part in parts]) for name in names}


def named(outputs: Any, names: Iterable[str]) -> dict[str, torch.Tensor]:
    """Return what a model returned by the names its task gives to its outputs. Raises BadInput."""
    names = tuple(names)
    values = outputs if isinstance(outputs, (tuple, list)) else (outputs,)
    if len(values) != len(names) or not all(isinstance(value, torch.Tensor) for value in values):
        expected = f"one tensor, {names[0]}" if len(names) == 1 else f"{len(names)} tensors, {', '.join(names)}"
        raise BadInput(f"forward returns {described(outputs)}, the task wants {expected}. Return that alone.")
    return dict(zip(names, values, strict=True))


def names(task: str = "classification") -> list[str]:
    """Return the names of all models of a task, torchvision's and ours; a model of yours is named `module:function`."""
    own = ["simple_cnn"] if PLACES.get(task) is torchvision.models else []
    known = torchvision.models.list_models(module=PLACES[task]) if task in PLACES else []
    if task in DETECTORS:
        known = [name for name in known if name.startswith(WITH_MASKS) == (task == "instances")]
    return [*known, *own]


def settle(config: Config) -> Config:
    """Replace what was left to the model: mean and deviation of its pretrained weights, or 0.5. Raises BadInput."""
    model = config.model
    if ":" not in model.name and model.name not in names(config.task):
        libraries.parse(model.name)  # of a file without a function it says so
        if other := next((task for task in PLACES if model.name in names(task)), ""):
            raise BadInput(
                f"model {model.name}: is for {other}, and the task is {config.task}: add --task {other}, or name "
                f"another model, such as {EXAMPLES.get(config.task, 'package.module:function')}."
            )
        raise unknown("model", model.name, names(config.task))
    if model.pretrained and model.weights:
        raise BadInput("model.pretrained and model.weights: a training starts from one of them. Leave one out.")
    mean, deviation = (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)
    if model.pretrained and (model.name == "simple_cnn" or not libraries.offers_weights(model.name)):
        raise BadInput(
            f"model {model.name}: has no pretrained weights; torchvision's and timm's models have. "
            "Set model.pretrained = false."
        )
    if ":" in model.name:
        if (model.weights or model.pretrained) and not (model.mean and model.deviation):
            declared = libraries.build(model.name, model.options, Path(model.weights or ".")).declared
            if declared is not None and declared.mean:
                mean, deviation = declared.mean, declared.deviation  # type: ignore[assignment]  # of R, G and B
    elif model.pretrained:
        preset = torchvision.models.get_model_weights(model.name).DEFAULT.transforms()
        mean, deviation = tuple(preset.mean), tuple(preset.std)
    return config.with_values("model", mean=model.mean or mean, deviation=model.deviation or deviation)


def build(config: Config, classes: int, weights: bool = True) -> Normalised:
    """Return the model of a settled config, which gives one tensor.

    `weights` False: a structure to load weights into, nothing is downloaded.
    """
    model = _started(config, classes, weights)
    kind = Segmenting if config.model.name in names("segmentation") else Normalised
    return kind(model, config.model.mean, config.model.deviation)


def build_detector(config: Config, classes: int, weights: bool = True) -> Detector:
    """Return the detector of a settled config, for as many classes of things; `weights` as in `build`."""
    background = config.model.name not in detectors.WITHOUT_BACKGROUND
    if config.model.name not in names(config.task):
        raise BadInput(
            f"model {config.model.name}: no detector of torchvision's. Name one of them, or train it where it was "
            "written and bring it: anywhere adopt."
        )
    model = _started(config, classes + 1 if background else classes, weights)
    asked = config.detection
    wanted = Decoding(asked.score, asked.iou, asked.detections, asked.candidates)
    return detectors.detector(model, config.data.size, wanted, config.model.mean, config.model.deviation)


def _started(config: Config, classes: int, weights: bool) -> nn.Module:
    """Return the inner model of a settled config, with pretrained weights where it is to have them."""
    model = _construct(config, classes)
    if weights and config.model.pretrained:
        _copy_pretrained(model, config.model.name, config.model.options)
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.momentum = config.model.batch_norm_momentum
    return model


def _construct(config: Config, classes: int) -> nn.Module:
    name, size = config.model.name, config.data.size
    options: dict[str, Any] = {"num_classes": classes, **config.model.options}
    if name.startswith("maxvit_"):
        options.setdefault("input_size", size)
    if name.startswith("vit_"):
        if size[0] != size[1]:
            raise BadInput(
                f"model {name}: takes square images only, not {size[0]}×{size[1]}. Set another data.image_size."
            )
        options.setdefault("image_size", size[0])
    if name in AUXILIARY:
        options |= {"aux_logits": False, "init_weights": True, "transform_input": config.model.pretrained}
    try:
        if ":" in name:
            return libraries.build(name, options, Path(config.model.weights) if config.model.weights else None).module
        if name == "simple_cnn":
            return SimpleCNN(image_size=size, **options)
        if PLACES.get(config.task) is not torchvision.models:
            options.setdefault("weights_backbone", None)
        return cast(nn.Module, torchvision.models.get_model(name, weights=None, **options))
    except (TypeError, ValueError, AssertionError) as error:
        if isinstance(error, BadInput):
            raise
        reason = " ".join(str(error).split())
        raise BadInput(
            f"model {name}: {reason} (num_classes {classes}, image size {size[0]}×{size[1]}). "
            "Change model.options or data.image_size."
        ) from error


def start(model: nn.Module, config: Config) -> files.Loaded | None:
    """Load the weights that a training starts from, if the config names any. Raises BadInput."""
    if not config.model.weights:
        return None
    return files.load(getattr(model, "model", model), Path(config.model.weights), start=True)


def _copy_pretrained(model: nn.Module, name: str, options: Mapping[str, Any]) -> None:
    """Copy a library's own weights into every tensor of the same name and shape; the head stays new."""
    try:
        source = libraries.pretrained(name, options).state_dict()
    except BadInput:
        raise
    except Exception as error:  # whatever the library's way of fetching raises
        reason = " ".join(str(getattr(error, "reason", error)).split())[:200]
        raise BadInput(
            f"model {name}: its pretrained weights could not be downloaded ({reason}). "
            "Connect to a network and try again, or set model.pretrained = false."
        ) from error
    own = model.state_dict()
    fits = {key for key, value in own.items() if key in source and source[key].shape == value.shape}
    fill(model, {key: source[key] if key in fits else value for key, value in own.items()})


def fill(module: nn.Module, values: Mapping[str, torch.Tensor]) -> None:
    """Load tensors by name. Raises BadInput unless the names are exactly the module's.

    They go into the module's own state_dict, which has versions beside the tensors: torchvision's MNASNet refuses one
    without.
    """
    state = module.state_dict()
    if unmatched := sorted(state.keys() ^ values.keys()):
        raise BadInput(f"weights: {', '.join(unmatched[:3])} are only in the file or only in the model. Train again.")
    for name in state:
        state[name] = values[name]
    module.load_state_dict(state)


def channels_last(inputs: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return inputs of which those of four axes (N, C, H, W) lie as NHWC in memory."""
    turn = torch.channels_last
    return {name: value.contiguous(memory_format=turn) if value.ndim == 4 else value for name, value in inputs.items()}


def allows_channels_last(model: nn.Module, inputs: Mapping[str, torch.Tensor]) -> bool:
    """True if the model takes tensors that are NHWC in memory; `view` and weights of five axes raise on such a one.

    inputs: (N, …) by name, some samples of which are run.
    """
    if all(value.ndim != 4 for value in inputs.values()):
        return False
    device = next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
    one = {name: torch.zeros_like(value[:1], device=device) for name, value in inputs.items()}
    try:
        local = copy.deepcopy(model).eval().to(memory_format=torch.channels_last)
        with torch.no_grad():
            local(*channels_last(one).values())
    except RuntimeError:
        return False
    return True
