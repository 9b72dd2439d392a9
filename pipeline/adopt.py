"""Adopts a model that was trained elsewhere: any `nn.Module`, with its weights and your samples, to a checkpoint.

    checkpoint = adopt(model, Wanted(images=Path("val")), Path("runs/mine"))

What comes out is an ordinary checkpoint: export, validate, localise, keep-float and the report take it unchanged.
"""

import dataclasses
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
import tomli_w
import torch
from torch import nn

import measures.tasks
from pipeline import config as configs
from pipeline import libraries, samples, tasks, weights
from pipeline.checkpoint import Checkpoint
from pipeline.data import IMAGE, INTERPOLATIONS, Preparation
from pipeline.detectors import Decoding, Detector, detector, family_of
from pipeline.detectors.raw import HEADS, RawHead
from pipeline.fitting import (
    CLASSES,
    THINGS,
    Logits,
    checked_classes,
    classifies,
    labelled,
    labels_of_things,
    other_task,
    renamed,
)
from pipeline.golden import HeldOut, Told, check_room, of_one_sample, to_numpy
from pipeline.libraries import Built, Declared
from pipeline.models import predict
from pipeline.outputs import Interface, first_call, parameters
from pipeline.probes import PICTURES, ImageFiles, patterns
from pipeline.samples import Annotated, Pictures, Samples
from pipeline.scan import scan
from pipeline.sizes import SIZED, layout, of_any_size, resized, sides
from pipeline.tasks import Batch
from pipeline.train import environment
from records.errors import BadInput
from records.head import OUTPUTS as RAW_OUTPUTS
from records.tensor import Array, Tensor

PLAIN = "regression"
"""The task of a network that decides nothing: its outputs are compared, and that is all."""
SIZE = 224
"""Height and width of pictures in pixels where nobody declares another."""
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
"""Mean and deviation that most weights for photographs were trained with."""


@dataclass(frozen=True)
class Wanted:
    """What a user says beside the model: where samples lie, how pictures are prepared, what outputs mean."""

    images: Path | None = None
    """A folder of pictures, a CSV of paths and classes, or a JSON of COCO's."""
    inputs: Path | Mapping[str, Array] | None = None
    """A file of arrays, or arrays (N, …) by name."""
    calls: Sequence[Any] = ()
    """Calls that were captured: tuples or dicts of tensors."""
    labels: tuple[str, ...] = ()
    """What the model's classes are called, in its order."""
    task: str = ""
    """Empty: classification where pictures lie in folders of their classes, else none."""
    head: str = ""
    """raw: of a detector, what its network gives for each anchor, neither decoded nor suppressed."""
    size: tuple[int, int] | None = None
    resize: tuple[int, int] | None = None
    """Height and width that a picture covers before it is cropped."""
    other_sizes: tuple[tuple[int, int], ...] = ()
    """Other heights and widths that the model takes: any, then, in formats that can, proved on these."""
    interpolation: str = ""
    """bilinear or bicubic; empty: what its library declares, else bilinear."""
    mean: tuple[float, ...] = ()
    deviation: tuple[float, ...] = ()
    outputs: tuple[str, ...] = ()
    """Other names for the outputs, in order."""
    golden: int = 256
    calibration: int = 128
    options: Mapping[str, Any] = field(default_factory=dict)
    """Arguments of the model's constructor."""
    weights: Path | None = None
    skip_corrupt: bool = False
    """Leave out pictures that cannot be decoded, and say how many."""
    trust: bool = False
    ignore: tuple[str, ...] = ()
    entry: str = ""


def run_name(spelling: str) -> str:
    """Return a run's name for a model: `nets.Net` of `./nets.py:Net`, `my-vit` of `hf:./my-vit`."""
    name = spelling.removesuffix("/").rpartition("/")[2].replace(".py:", ".").replace(":", ".")
    return re.sub(r"[^A-Za-z0-9._-]", "_", name).strip("._-") or "adopted"


def parse_option(text: str) -> tuple[str, Any]:
    """Return name and value of `num_classes=37`. Raises BadInput."""
    try:
        return configs.parse_setting(text)
    except BadInput as error:
        raise BadInput(f"--option {text}: not of the form key=value. Write --option num_classes=37.") from error


def parse_size(text: str, option: str) -> tuple[int, int] | None:
    """Return height and width of `224` or `96x64`; None: the text is empty. Raises BadInput."""
    if not text:
        return None
    try:
        size = configs.parse_size(text)
    except BadInput as error:
        raise BadInput(str(error).replace("--image-size", option)) from error
    return (size, size) if isinstance(size, int) else (size[0], size[1])


def parse_sizes(texts: Sequence[str], option: str) -> tuple[tuple[int, int], ...]:
    """Return heights and widths. Raises BadInput."""
    return tuple(size for text in texts if (size := parse_size(text, option)))


def build(spelling: str, wanted: Wanted) -> tuple[Built, weights.Loaded | None]:
    """Return the model of a spelling, with its weights, and the proof that they were loaded. Raises BadInput."""
    built = libraries.build(spelling, wanted.options, wanted.weights)
    return built, load(built.inner or built.module, wanted) or built.loaded


def first_input(model: nn.Module) -> str:
    """Return the name of the input that a picture is given to."""
    takes, needed = parameters(model)
    return next(iter(needed or takes), IMAGE)


def load(model: nn.Module, wanted: Wanted) -> weights.Loaded | None:
    """Load a user's weights into a model that was built already; None: it keeps those that it has. Raises BadInput."""
    if wanted.weights is None:
        return None
    return weights.load(model, wanted.weights, wanted.trust, wanted.ignore, wanted.entry)


def adopt(
    model: nn.Module,
    wanted: Wanted,
    run: Path,
    name: str,
    tell: Callable[[str], None],
    declared: Declared | None = None,
    labels: Sequence[str] = (),
    loaded: weights.Loaded | None = None,
) -> Checkpoint:
    """Write the checkpoint of a model in `run/checkpoint` and return it. Raises BadInput.

    name: what it is called in reports. declared, labels: what its library says. tell: is given each finding.
    """
    if wanted.task:
        measures.tasks.load(wanted.task)  # before anything takes its time
    if wanted.head and (wanted.head not in HEADS or wanted.task != "detection"):
        raise BadInput(f"--head {wanted.head}: raw is the only one, and of a detector. Add --task detection.")
    findings = scan(model)
    model, wanted = _of_task(model, wanted, declared)
    if loaded is not None:
        findings.insert(0, loaded.told)
    for finding in findings:
        tell(finding)
    takes, needed = parameters(model)
    given, prepared = _given(model, wanted, declared, tuple(wanted.labels) or tuple(labels), takes, needed)
    for sentence in prepared:
        tell(sentence)
    chosen, ranges = samples.divide(given, wanted.golden, wanted.calibration)
    golden, calibration = samples.batch(given, chosen), samples.batch(given, ranges)
    by_name = bool(takes) and set(given.names) <= set(takes) and list(given.names) != takes[: len(given.names)]
    normalisation = dict.fromkeys(given.names, values) if (values := _normalisation(wanted, declared, given)) else {}
    interface = Interface(model, given.names, by_name, normalisation).eval()
    outputs, single = first_call(interface, golden.inputs)
    check_room(outputs, len(chosen))
    inputs = tuple(_described(given, key, value) for key, value in golden.inputs.items())
    sizes = [resized(given, chosen[:SIZED], golden.inputs, size) for size in wanted.other_sizes]
    inputs = tuple(of_any_size(tensor, [each[tensor.name] for each in sizes]) for tensor in inputs)
    if sizes and not any(tensor.any_size for tensor in inputs):
        raise BadInput(f"--other-size {sides(wanted.other_sizes[0])}: is --size itself. Give another, or none.")
    for other in sizes:
        first_call(interface, other)
    task = wanted.task or (CLASSES if golden.truth and classifies(outputs, given.labels) else PLAIN)
    names = renamed(list(outputs), task, wanted.outputs)
    outputs = dict(zip(names, outputs.values(), strict=True))
    classes = given.labels or tuple(wanted.labels) or tuple(labels)
    told = isinstance(given, Annotated)
    head = model.record(labelled(model.detector, classes)) if isinstance(model, RawHead) else None
    if (task in THINGS and not told) or not measures.tasks.load(task).METRIC:
        golden = Batch(golden.inputs, {})  # folders of pictures may have names that say nothing of what it computes
    if task == CLASSES:
        classes = checked_classes(outputs, classes)
    held_out = HeldOut(
        told=Told(
            task=task,
            labels=head.labels
            if head
            else classes
            if task == CLASSES
            else labels_of_things(task, model, outputs, classes),
            model_name=name,
            normalisation=_told_normalisation(normalisation),
            config=_config(name, wanted),
            loaded=loaded.record() if loaded else None,
            findings=(*findings, *prepared),
            decoding=model.decoding.record() if isinstance(model, Detector) else {},
        ),
        inputs=of_one_sample(inputs) if single else inputs,
        outputs=tasks.load(task).OUTPUTS if task in THINGS else {key: layout(value) for key, value in outputs.items()},
        golden=golden,
        calibration=calibration.inputs,
        patterns={key: patterns(value, _limits(given, value)) for key, value in golden.inputs.items()},
        probes=_probes(given, chosen),
        sizes=sizes,
        head=head,
    )
    made_by = environment(torch.device("cpu"), 0)
    metrics = _metrics(interface, held_out, task)
    progress = {"epoch": 0, "step": 0, "epochs": 0, "finished": True}
    checkpoint = held_out.write(run / "checkpoint", interface, metrics, made_by, progress, training={})
    for finding in checkpoint.findings[len(held_out.told.findings) :]:
        tell(finding)
    return checkpoint


def _of_task(model: nn.Module, wanted: Wanted, declared: Declared | None) -> tuple[nn.Module, Wanted]:
    """Return a model of torchvision's as its task has it, and what is wanted with what the model itself declares.

    A detector gets outputs of fixed shapes, or its head is all that is left of it; of a segmentation model the logits
    are. Raises BadInput.
    """
    known = wanted.task in configs.DETECTORS and family_of(model) is not None
    if wanted.head and not (known and wanted.task == "detection"):
        raise BadInput(f"--head {wanted.head}: {type(model).__name__} is no detector of torchvision's. Leave it out.")
    if known:
        if other := other_task(model, wanted.task):
            raise BadInput(
                f"{type(model).__name__}: is for {other}, and the task is {wanted.task}: add --task {other}."
            )
        transform: Any = cast(Any, model).transform
        fixed = transform.fixed_size[::-1] if transform.fixed_size else None
        size = wanted.size or (declared and declared.size) or fixed or (transform.min_size[0], transform.min_size[0])
        mean, deviation = wanted.mean or transform.image_mean, wanted.deviation or transform.image_std
        wanted = dataclasses.replace(wanted, size=size, mean=tuple(mean), deviation=tuple(deviation))
        fixed_shapes = detector(model, size, Decoding(), (), ())
        if wanted.head:
            return RawHead(fixed_shapes), dataclasses.replace(wanted, task=PLAIN, outputs=tuple(RAW_OUTPUTS))
        return fixed_shapes, wanted
    if wanted.task == "segmentation" and type(model).__module__.startswith("torchvision.models.segmentation"):
        return Logits(model), wanted
    return model, wanted


def _given(
    model: nn.Module,
    wanted: Wanted,
    declared: Declared | None,
    labels: Sequence[str],
    takes: Sequence[str],
    needed: Sequence[str],
) -> tuple[Samples, list[str]]:
    """Return the samples that a user gave, and what there is to say about their preparation. Raises BadInput."""
    sources = [source for source in (wanted.images, wanted.inputs, wanted.calls or None) if source is not None]
    if len(sources) != 1:
        raise BadInput(
            f"{'no' if not sources else 'several kinds of'} samples: golden is made of yours. Give one of --images "
            "FOLDER and --inputs FILE."
        )
    if wanted.images is not None:
        if len(needed) > 1:
            raise BadInput(
                f"forward takes {len(needed)} inputs ({', '.join(needed)}), and --images gives one. Give arrays of all "
                "of them: --inputs FILE.npz."
            )
        preparation, said = _preparation(wanted, declared)
        name, skip = first_input(model), wanted.skip_corrupt
        given = samples.pictures(wanted.images, preparation, labels, name, skip, wanted.task)
        return given, [*said, *given.findings]
    if wanted.calls:
        return samples.arrays(samples.of_calls(wanted.calls, takes), "calls", takes, needed, wanted.labels), []
    inputs = wanted.inputs
    if isinstance(inputs, Path):
        return samples.arrays(samples.read_arrays(inputs, takes), str(inputs), takes, needed, wanted.labels), []
    assert inputs is not None
    values = {name: np.asarray(value) for name, value in inputs.items()}
    return samples.arrays(values, "given", takes, needed, wanted.labels), []


def _preparation(wanted: Wanted, declared: Declared | None) -> tuple[Preparation, list[str]]:
    """Return how a picture becomes the input: as declared, by the user first, then by the library; and what was not."""
    library = declared or Declared()
    size = wanted.size or library.size or (SIZE, SIZE)
    resize = wanted.resize or (library.resize if wanted.size is None else None)
    interpolation = wanted.interpolation or library.interpolation
    if interpolation not in INTERPOLATIONS:
        raise BadInput(
            f"interpolation {interpolation}: no app prepares pictures so, only {' and '.join(INTERPOLATIONS)}. Give "
            f"--interpolation {INTERPOLATIONS[0]}."
        )
    preparation = Preparation(resize, size, interpolation) if resize else Preparation(size, None, interpolation)
    cropped = (
        f"resized to cover {sides(resize)} and cropped to {sides(size)}" if resize else f"resized to {sides(size)}"
    )
    mean = wanted.mean or library.mean
    normalised = f"less mean {mean} inside the model" if mean else "nothing subtracted"
    undeclared = [
        option
        for option, value in (("--size", wanted.size or library.size), ("--mean and --deviation", mean))
        if not value
    ]
    said = f"pictures are {cropped}, {interpolation}, RGB in [0, 1], {normalised}"
    return preparation, [said + (f"; nobody declared {' and '.join(undeclared)}" if undeclared else "")]


def _normalisation(
    wanted: Wanted, declared: Declared | None, given: Samples
) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
    """Return mean and deviation that go into the model before it; None: it does that itself, or needs none."""
    if not isinstance(given, Pictures):
        return None
    library = declared or Declared()
    mean, deviation = wanted.mean or library.mean, wanted.deviation or library.deviation
    if not mean and not deviation:
        return None
    if len(mean) != len(deviation) or len(mean) not in {1, 3} or min(deviation) <= 0:
        raise BadInput(
            f"mean {mean} and deviation {deviation}: one number, or three for R, G and B, of each, deviations above 0. "
            "Give --mean 0.485,0.456,0.406 --deviation 0.229,0.224,0.225, or --mean imagenet."
        )
    return mean, deviation


def _told_normalisation(normalisation: Mapping[str, tuple[Sequence[float], Sequence[float]]]) -> dict[str, Any]:
    """Return what the checkpoint says of mean and deviation."""
    mean, deviation = next(iter(normalisation.values()), ((), ()))
    return {"mean": list(mean), "deviation": list(deviation), "inside_model": bool(mean)}


def _described(given: Samples, name: str, values: torch.Tensor) -> Tensor:
    """Return an input as the checkpoint describes it."""
    shape = ("batch", *values.shape[1:])
    dtype = str(values.dtype).removeprefix("torch.")
    if isinstance(given, Pictures):
        prepared = given.preparation.record()
        return Tensor(name, dtype, shape, "NCHW", (0.0, 1.0), "RGB", preparation=prepared)
    return Tensor(name, dtype, shape, layout(values))


def _limits(given: Samples, values: torch.Tensor) -> tuple[float, float]:
    """Return the least and greatest value of an input: of pictures 0 and 1, else what golden has."""
    return (0.0, 1.0) if isinstance(given, Pictures) else (float(values.min()), float(values.max()))


def _probes(given: Samples, chosen: Sequence[int]) -> dict[str, ImageFiles]:
    """Return image files of the first golden pictures, by the input that is made of them; none: there are none."""
    if not isinstance(given, Pictures):
        return {}
    held_out = [given.picture(number) for number in chosen[:PICTURES]]
    return {given.names[0]: ImageFiles(held_out, given.preparation)}


def _metrics(interface: nn.Module, held_out: HeldOut, task: str) -> dict[str, float]:
    """Return the task's metric of golden; none: nobody said what is right, or the task has no metric."""
    if not held_out.golden.truth:
        return {}
    measured = measures.tasks.load(task)
    outputs = to_numpy(predict(interface, held_out.golden.inputs, held_out.outputs, held_out.batch))
    return {f"golden_{measured.METRIC}": measured.score(outputs, to_numpy(held_out.golden.truth))}


def _config(name: str, wanted: Wanted) -> str:
    """Return the text of config.toml: what was asked for, to be read by people."""
    file = wanted.inputs if isinstance(wanted.inputs, Path) else None  # arrays are in golden
    asked = dataclasses.asdict(dataclasses.replace(wanted, calls=(), inputs=file))
    values = {
        key: str(value) if isinstance(value, Path) else value
        for key, value in asked.items()
        if value not in (None, "", (), {})
    }
    return tomli_w.dumps({"adopt": {"model": name, **values}})
