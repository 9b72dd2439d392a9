"""The configuration of a training: defaults are a real run, a TOML file and options override them.

    [data]
    dataset = "digits"
    [train]
    epochs = 12

Every field is written into the checkpoint as `config.toml`, which `anywhere train --config` takes back.
"""

import dataclasses
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import tomli_w
from pydantic import ConfigDict, Field

from records import settings
from records.constants import constants
from records.errors import BadInput

DETECTORS = ("detection", "instances")
"""Tasks that the section `[detection]` is about."""
LATER = ("validate",)
"""Sections of the same file that a later room reads."""
_STRICT = ConfigDict(extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)

Count = Annotated[int, Field(ge=1, le=2**31 - 1)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]


@dataclass(frozen=True)
class DataConfig:
    """The section `[data]`: the images, and how they are prepared."""

    __pydantic_config__ = _STRICT

    dataset: str = "digits"
    """digits, mnist, fashion_mnist, cifar10, imagenette, oxford_pet, voc, scenes (of all tasks but classification), or
    your own: folder, csv, coco or voc (see `folder`)."""
    folder: str = ""
    """For dataset = "folder": one folder of images per class, or `train/` and `val/` that hold such folders. For "csv":
    a CSV of paths, classes and perhaps a column `split`. For "coco": a JSON of COCO's, of classification with one
    category per image. For "voc": a folder such as VOCdevkit/VOC2012. Of segmentation "folder" has `images/` and
    `masks/`."""
    cache: str = "data"
    """Where torchvision's datasets are downloaded to."""
    download: bool = True
    """Download one of torchvision's datasets that is not there. Otherwise it is refused."""
    image_size: Annotated[int, Field(ge=0, le=2**31 - 1)] | tuple[Count, Count] = 0
    """Height and width of the model's input in pixels: 64, or [96, 64]. 0: what the model or else the dataset is used
    with."""
    augmentation: str = ""
    """affine, crop_flip, resized_crop or none; of other tasks than classification light, photographs or none. Empty:
    what suits the dataset."""
    skip_corrupt: bool = False
    """Leave out image files that cannot be decoded, and say how many. Otherwise they are refused by name."""
    golden: Count = 256
    """Held-out samples that go into the checkpoint as golden inputs (all, where the split has fewer)."""
    calibration: Count = 128
    """Training samples that go into the checkpoint to set integer ranges."""
    workers: Annotated[int, Field(ge=0, le=2**15)] = 0
    """Processes that load images. 0: load in the training process, enough for small images."""

    @property
    def size(self) -> tuple[int, int]:
        """Return height and width in pixels, of a settled config."""
        return self.image_size if isinstance(self.image_size, tuple) else (self.image_size, self.image_size)


@dataclass(frozen=True)
class ModelConfig:
    """The section `[model]`: the model, and the weights it starts from."""

    __pydantic_config__ = _STRICT

    name: str = "mobilenet_v3_small"
    """A torchvision model of the task, `simple_cnn`, `timm:NAME`, or your own `package.module:function` or
    `./file.py:Class` (takes `num_classes`)."""
    weights: str = ""
    """File of weights to start from: safetensors, or a state_dict. A head for other classes starts anew."""
    pretrained: bool = False
    """Start from torchvision's or timm's weights (downloaded once); the head is new where the classes differ."""
    options: dict[str, bool | int | float | str] = field(default_factory=dict)
    """Passed to the model's constructor, for example `{ dropout = 0.1 }` or `{ convolutions = 1 }`."""
    batch_norm_momentum: Annotated[float, Field(gt=0, le=1)] = 0.1
    """Weight of a new batch in BatchNorm's running statistics. torchvision's mobilenet_v3 sets 0.01, with which
    the statistics of a run of a few hundred steps never converge: 0.12 accuracy instead of 0.99."""
    mean: tuple[float, float, float] | tuple[()] = ()
    """Per RGB channel, in [0, 1]; subtracted inside the exported model. Empty: what pretrained weights were trained
    with, else 0.5."""
    deviation: tuple[Positive, Positive, Positive] | tuple[()] = ()
    """Per RGB channel, in [0, 1]; divided by inside the exported model. Empty: as for `mean`."""


@dataclass(frozen=True)
class DetectionConfig:
    """The section `[detection]`: which of its boxes a detector gives. 0: what suits the dataset or the model."""

    __pydantic_config__ = _STRICT

    score: Fraction = 0.0
    """Score that a box has more than."""
    iou: Fraction = 0.0
    """Overlap (IoU) beyond which the better of two boxes of a class suppresses the other."""
    detections: Annotated[int, Field(ge=0, le=1000)] = 0
    """Boxes of an image, at most."""
    candidates: Annotated[int, Field(ge=0, le=4096)] = 0
    """Best pairs of anchor and class that are decoded and suppressed."""
    head: Literal["", "raw"] = ""
    """raw: what is exported is what the network gives for each anchor, neither decoded nor suppressed."""


@dataclass(frozen=True)
class TrainConfig:
    """The section `[train]`: how the weights are found."""

    __pydantic_config__ = _STRICT

    epochs: Count = 12
    """Passes over the training split."""
    batch_size: Count = 32
    """Samples per step."""
    small: Fraction = 0.0
    """Share of the epochs, the first ones, that see smaller pictures, for models that take any size: most of them half
    the height and width, where a step takes a third of the time, the last of them three quarters."""
    learning_rate: Positive = 3e-3
    """AdamW's peak rate, after the warm-up."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.05
    """AdamW's decoupled decay."""
    warmup: Fraction = 0.2
    """Share of all steps in which the rate rises linearly; then it falls as a cosine to zero."""
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.05
    """Share of a label's probability given to all classes alike."""
    ema: Annotated[float, Field(ge=0, lt=1)] = 0.98
    """Decay of the weights' exponential moving average, which is what the checkpoint holds. 0: none."""
    clip: Positive = 1.0
    """Greatest L2 norm of the gradient."""
    seed: Annotated[int, Field(ge=0, le=2**63 - 1)] = 0
    """One seed on one machine gives the same weights. The split does not depend on it."""
    device: str = "auto"
    """auto (a GPU where there is one), cpu, cuda, cuda:1 …"""
    amp: bool = False
    """On a GPU: compute in bfloat16 where that is safe (torch.autocast)."""
    channels_last: bool = True
    """Keep tensors as NHWC in memory where the model allows it (`view` does not): half the time per step for
    mobilenet_v3_small on a CPU, and what a GPU's tensor cores prefer."""
    compile: bool = False
    """torch.compile the model: the first step takes longer, the others less on a GPU."""
    quantize_aware: bool = False
    """Compute the last epochs on the steps of int8, so that int8 files come nearer (docs/integers.md). Batch
    normalisation keeps its statistics from then on, but in the first epoch of a training without weights to start
    from."""
    quantize_aware_share: Annotated[float, Field(gt=0, le=1)] = 0.4
    """Share of the epochs that are computed so: one at least."""


@dataclass(frozen=True)
class Config:
    """The whole configuration."""

    __pydantic_config__ = _STRICT

    task: str = "classification"
    """What the model is trained for: classification, detection, instances, multilabel or segmentation. Of another one
    than classification, some defaults below are others: `anywhere train --task detection`."""
    data: DataConfig = DataConfig()
    model: ModelConfig = ModelConfig()
    detection: DetectionConfig = DetectionConfig()
    train: TrainConfig = TrainConfig()

    def with_values(self, section: str, **values: Any) -> "Config":
        """Return a copy in which fields of one section are replaced."""
        return dataclasses.replace(self, **{section: dataclasses.replace(getattr(self, section), **values)})


def keys() -> list[str]:
    """Return every key in dotted form: `train.epochs`."""
    names = []
    for item in dataclasses.fields(Config):
        if dataclasses.is_dataclass(item.type):
            names += [f"{item.name}.{inner.name}" for inner in dataclasses.fields(item.type)]
        else:
            names.append(item.name)
    return names


def fields() -> list[tuple[str, Any, str]]:
    """Return every field in order: dotted key, default, docstring."""
    schema = settings.adapter(Config).json_schema()
    rows = []
    for key in keys():
        *sections, name = key.split(".")
        owner = getattr(Config(), sections[0]) if sections else Config()
        properties = schema["$defs"][type(owner).__name__]["properties"] if sections else schema["properties"]
        rows.append((key, getattr(owner, name), properties[name]["description"]))
    return rows


def read(path: Path | None, overrides: Mapping[str, Any] | None = None) -> Config:
    """Return the defaults of a task, overridden by the file at `path`, then by `overrides` by dotted key.

    Raises BadInput.
    """
    values = settings.read_toml(path) if path is not None else {}
    for section in LATER:
        values.pop(section, None)
    for key, value in (overrides or {}).items():
        table, last = _table(values, key, path)
        table[last] = value
    for key, value in defaults(str(values.get("task", ""))).items():
        table, last = _table(values, key, path)
        table.setdefault(last, value)
    return check(values, str(path or "options"))


def _table(values: dict[str, Any], key: str, path: Path | None) -> tuple[dict[str, Any], str]:
    """Return the section that a dotted key lies in, made where it is missing, and the key's last part."""
    *sections, last = key.split(".")
    table = values
    for section in sections:
        table = table.setdefault(section, {})
        if not isinstance(table, dict):
            raise BadInput(f"{path}: {section}: a section is needed here, not {table!r}. Write [{section}].")
    return table, last


def defaults(task: str) -> Mapping[str, Any]:
    """Return what a task's own file has in the place of the defaults here, by dotted key; of no such task: nothing."""
    file = Path(__file__).parent / "tasks" / f"{task}.py"
    values: Mapping[str, Any] = constants(file).get("DEFAULTS", {}) if task.isidentifier() and file.is_file() else {}
    return values


def parse_setting(text: str) -> tuple[str, Any]:
    """Return the key and value of `train.epochs=3`: ("train.epochs", 3). Raises BadInput.

    The value is TOML; what is no TOML is a string.
    """
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise BadInput(f"--set {text}: not of the form key=value. Write for example --set train.epochs=3.")
    try:
        return key.strip(), tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return key.strip(), value.strip()


def parse_size(text: str) -> int | list[int]:
    """Read `64` as 64, `96x64` (height × width) as [96, 64]. Raises BadInput."""
    sides = text.lower().replace("×", "x").split("x")
    if len(sides) > 2 or not all(side.strip().isdecimal() for side in sides):
        raise BadInput(f"--image-size {text}: no size in pixels. Write 64, or height and width as 96x64.")
    numbers = [int(side) for side in sides]
    return numbers[0] if len(numbers) == 1 else numbers


def check(values: Mapping[str, Any], where: str) -> Config:
    """Return values from TOML as a Config, strictly typed. Raises BadInput for the first thing that is wrong."""
    return settings.load_settings(Config, values, where, keys())


def to_toml(config: Config) -> str:
    """Return the TOML text that `read` turns into the same Config."""
    return tomli_w.dumps(dataclasses.asdict(config))
