"""Golden and calibration of your own: a folder of pictures, a CSV, arrays in a file, or calls that were captured.

    given = pictures(Path("val"), preparation, labels=())
    golden, calibration = divide(given, golden=256, calibration=128)

The two are disjoint by content, not by name: integers judged on what set their ranges look better than they are.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from PIL import Image
from torchvision import tv_tensors

from measures.signal import SAMPLES
from pipeline import tasks
from pipeline.config import DataConfig
from pipeline.data import IMAGE, Preparation, opaque
from pipeline.datasets import Sample, coco
from pipeline.listed import HELD_OUT, TRAIN, Row, in_splits, read_csv, undamaged
from pipeline.pictures import SUFFIXES, counted, damaged, opened, refusal
from pipeline.tasks import Batch, Tensors
from records.errors import BadInput, some
from records.sealed import fingerprints
from records.tensor import Array

SKIP = "--skip-corrupt"
"""The option that leaves out pictures that cannot be decoded."""
TRUTH = "labels"
"""Name of the array beside the inputs that says what is right."""
LEAST_CALIBRATION = 32
"""Samples that integer ranges need: export/quantize/calibration.py refuses fewer."""


@dataclass(frozen=True)
class Samples(ABC):
    """Inputs that somebody gave, one by one, and what is right for them."""

    names: tuple[str, ...]
    """Of the inputs, in order."""
    count: int
    where: str
    """Where they come from, for a sentence."""
    labels: tuple[str, ...]
    """What the numbers of the truth are called; empty: there is no truth."""

    @abstractmethod
    def inputs(self, number: int) -> dict[str, torch.Tensor]:
        """Return one sample (…) of each input."""

    def truth(self, number: int) -> Any:
        """Return what is right for a sample: its class; None: nobody said."""
        return None

    def collate(self, truths: Sequence[Any]) -> Tensors:
        """Return the truths of samples as tensors (N, …) by name."""
        return {TRUTH: torch.tensor(truths)}

    @property
    def held_out(self) -> Sequence[int] | None:
        """Return the numbers that golden is chosen of; None: of all."""
        return None


@dataclass(frozen=True)
class Pictures(Samples):
    """Picture files, prepared as an app prepares them."""

    files: tuple[Path, ...]
    classes: tuple[int, ...]
    """Of each file; empty: nobody said."""
    preparation: Preparation
    golden_only: frozenset[int] | None = None
    findings: tuple[str, ...] = ()
    """What a user shall be told of them, such as what was left out."""

    def inputs(self, number: int) -> dict[str, torch.Tensor]:
        """Return the image (3, H, W) float32 in [0, 1]. Raises BadInput for a file that cannot be read."""
        prepared = self._prepare(opaque(self.picture(number)))
        return {self.names[0]: prepared.as_subclass(torch.Tensor).float() / 255}

    def picture(self, number: int) -> Image.Image:
        """Return a picture as its camera held it: turned as its EXIF orientation says.

        Raises BadInput for one that cannot be decoded, which says how many others cannot: only then all are tried.
        """
        try:
            return opened(self.files[number])
        except BadInput as error:
            raise refusal(self.where, counted(self.files, damaged(self.files)), SKIP) from error

    def truth(self, number: int) -> Any:
        """Return the class of a file."""
        return self.classes[number] if self.classes else None

    @property
    def held_out(self) -> Sequence[int] | None:
        """Return the numbers of the files in `val/`, or in the split `val` of a CSV, where there is one."""
        return None if self.golden_only is None else sorted(self.golden_only)

    @cached_property
    def _prepare(self) -> Any:
        return self.preparation.transform()


@dataclass(frozen=True)
class Annotated(Pictures):
    """Picture files, and on each what a task asks for, prepared along with it."""

    task: str = ""
    stored: Sequence[Sample] = ()
    """Each picture with its truth, as its data set has it."""
    table: tuple[int, ...] = ()
    """Of each class of the data set, the model's."""

    def truth(self, number: int) -> Any:
        """Return the truth of a task for the prepared picture, in the model's classes."""
        picture, truth = self.stored[number]
        return self._in_classes(self._prepare(opaque(picture), truth)[1])

    def collate(self, truths: Sequence[Any]) -> Tensors:
        """Return the truths of samples as the task has them."""
        return tasks.load(self.task).collate(truths)

    def _in_classes(self, truth: Any) -> Any:
        table = torch.tensor(self.table)
        if isinstance(truth, int):
            return self.table[truth]
        if isinstance(truth, dict):  # of things
            return {**truth, "labels": table[truth["labels"]]}
        if isinstance(truth, tv_tensors.Mask):  # of pixels
            places = torch.arange(256)
            places[: len(table)] = table
            return places[truth.as_subclass(torch.Tensor).long()]
        present = torch.zeros(len(self.labels), dtype=torch.uint8)
        present[table] = truth
        return present


@dataclass(frozen=True)
class ArraySamples(Samples):
    """Arrays (N, …) by input."""

    arrays: Mapping[str, Array]
    classes: Array | None = None
    """(N,) integers."""

    def inputs(self, number: int) -> dict[str, torch.Tensor]:
        """Return one row of each array."""
        return {name: torch.from_numpy(np.array(self.arrays[name][number])) for name in self.names}

    def truth(self, number: int) -> Any:
        """Return what is right for a row."""
        return None if self.classes is None else int(self.classes[number])


def pictures(
    place: Path,
    preparation: Preparation,
    labels: Sequence[str],
    name: str = IMAGE,
    skip_corrupt: bool = False,
    task: str = "",
) -> Pictures:
    """Return the pictures in a folder, with a folder for each class or without, of a CSV, or of a JSON of COCO's.

    Raises BadInput.

    labels: what the classes are called, in the order of the model's; empty: the folders' names in their order.
    skip_corrupt: try all files first, and leave out those that cannot be decoded. task: what a JSON is read for.
    """
    where = f"images {place}"
    if place.suffix.lower() == ".json" and place.is_file():
        return _annotated(place, preparation, labels, name, skip_corrupt, task)
    if place.suffix.lower() == ".csv" and place.is_file():
        rows = read_csv(place, where)
    elif place.is_dir():
        rows = _of_folder(place)
    else:
        raise BadInput(f"images {place.absolute()}: no such folder, CSV or JSON. Give --images FOLDER.")
    rows, held_out, findings = in_splits(rows)
    rows, damage = undamaged(rows) if skip_corrupt else (rows, "")
    if damage:
        findings += (f"{damage}; they are left out",)
    if not rows:
        raise BadInput(f"{where}: no picture in it ({', '.join(sorted(SUFFIXES))}). Give another folder.")
    names = [row.label for row in rows]
    known = tuple(labels) or tuple(sorted(set(filter(None, names))))
    if strange := sorted({name for name in names if name and name not in known}):
        raise BadInput(
            f"images {place}: class {strange[0]!r} is not among the model's {len(known)} labels "
            f"({', '.join(known[:5])}{'…' if len(known) > 5 else ''}). Call the folders as these, or give --labels."
        )
    classes = tuple(known.index(name) for name in names) if all(names) else ()
    golden_only = frozenset(number for number, row in enumerate(rows) if held_out and row.split == held_out)
    return Pictures(
        names=(name,),
        count=len(rows),
        where=where,
        labels=known if classes or labels else (),
        files=tuple(row.file for row in rows),
        classes=classes,
        preparation=preparation,
        golden_only=golden_only or None,
        findings=findings,
    )


def _annotated(
    place: Path, preparation: Preparation, labels: Sequence[str], name: str, skip_corrupt: bool, task: str
) -> Annotated:
    """Return the pictures of a JSON of COCO's with the truth of a task. Raises BadInput.

    labels: of the model's classes, in its order, among which the categories are; empty: the categories are they.
    """
    where = f"images {place}"
    if task not in coco.TASKS:
        raise BadInput(f"{where}: a JSON of COCO's is for {', '.join(coco.TASKS)}. Say for which: --task detection.")
    read = coco.read(DataConfig(dataset="coco", folder=str(place), skip_corrupt=skip_corrupt), task)
    known = tuple(labels) or read.labels
    if strange := [label for label in read.labels if label not in known]:
        raise BadInput(
            f"{where}: category {strange[0]!r} is not among the model's {len(known)} labels ({some(known)}). Call the "
            "categories as these, or give --labels."
        )
    return Annotated(
        names=(name,),
        count=len(read.train),
        where=where,
        labels=known,
        files=cast(Any, read.train).files,  # of a JSON, each sample is one
        classes=(),
        preparation=preparation,
        findings=read.findings,
        task=task,
        stored=read.train,
        table=tuple(known.index(label) for label in read.labels),
    )


def _pictures_in(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.rglob("*")) if path.suffix.lower() in SUFFIXES and path.is_file())


def _of_folder(folder: Path, split: str = "") -> list[Row]:
    """Return the files below a folder, with their classes and, of `train/` and `val/`, their splits."""
    held_out = next((name for name in HELD_OUT if (folder / name).is_dir()), None)
    if held_out and not split and (folder / TRAIN).is_dir():
        return [row for name in (held_out, TRAIN) for row in _of_folder(folder / name, name)]
    files = list(_pictures_in(folder))
    named = all(file.parent != folder for file in files)
    return [Row(file, file.relative_to(folder).parts[0] if named else "", split) for file in files]


def arrays(
    values: Mapping[str, Array], where: str, takes: Sequence[str], needed: Sequence[str], labels: Sequence[str]
) -> ArraySamples:
    """Return arrays (N, …) as samples, in the order of forward's parameters. Raises BadInput.

    takes: names of forward's parameters; needed: those without a default. An array `labels` that is no parameter is
    the truth.
    """
    values = dict(values)
    classes = values.pop(TRUTH, None) if TRUTH not in takes else None
    if takes and set(values) <= set(takes):
        names = [name for name in takes if name in values]
    elif len(values) == 1 and len(needed) <= 1:
        names = list(values)
    else:
        strange = sorted(set(values) - set(takes))
        raise BadInput(
            f"inputs {where}: {', '.join(strange)} is no input of forward, which takes "
            f"{', '.join(takes) or 'nothing'}. Name the arrays as its parameters."
        )
    if missing := [name for name in needed if name not in values and len(values) < len(needed)]:
        raise BadInput(f"inputs {where}: no {', '.join(missing)}, which forward needs. Add it.")
    for name in names:
        if values[name].dtype == np.float64:
            values[name] = values[name].astype(np.float32)
        if values[name].dtype == object or values[name].ndim == 0:
            raise BadInput(f"inputs {where}: {name} is no array of numbers (N, …). Stack samples along a first axis.")
    counts = {name: len(values[name]) for name in names}
    if len(set(counts.values())) > 1:
        told = ", ".join(f"{name} {count}" for name, count in counts.items())
        raise BadInput(f"inputs {where}: other numbers of samples ({told}). Give as many of each.")
    if classes is not None and len(classes) != counts[names[0]]:
        raise BadInput(f"inputs {where}: {len(classes)} labels for {counts[names[0]]} samples. Give as many.")
    return ArraySamples(
        names=tuple(names),
        count=counts[names[0]],
        where=f"inputs {where}",
        labels=tuple(labels),
        arrays={name: values[name] for name in names},
        classes=classes,
    )


def read_arrays(path: Path, takes: Sequence[str]) -> dict[str, Array]:
    """Return the arrays in a .npz, .npy or .safetensors by name. Raises BadInput."""
    if not path.is_file():
        raise BadInput(f"inputs {path.absolute()}: no such file. Give a .npz, .npy or .safetensors.")
    try:
        if path.suffix == ".safetensors":
            from safetensors.numpy import load_file

            return dict(load_file(path))
        content = np.load(path, allow_pickle=False)
        if isinstance(content, np.ndarray):
            return {takes[0] if takes else "input": content}
        return {name: content[name] for name in content.files}
    except Exception as error:
        reason = " ".join(str(error).split())[:120]
        raise BadInput(
            f"inputs {path}: cannot be read ({reason}). Save it with numpy.savez, without objects."
        ) from error


def of_calls(calls: Sequence[Any], takes: Sequence[str]) -> dict[str, Array]:
    """Return the arrays (N, …) of calls that were captured, each a tuple or a dict of tensors. Raises BadInput."""
    parts: dict[str, list[Array]] = {}
    for number, call in enumerate(calls):
        if isinstance(call, Mapping):
            values = dict(call)
        else:
            each = call if isinstance(call, (tuple, list)) else (call,)
            if len(each) > len(takes):
                raise BadInput(f"call {number + 1}: {len(each)} inputs, and forward takes {len(takes)}.")
            values = dict(zip(takes, each, strict=False))
        if parts and set(values) != set(parts):
            raise BadInput(f"call {number + 1}: has {', '.join(values)}, the first {', '.join(parts)}. Give the same.")
        for name, value in values.items():
            array = value.detach().cpu().numpy() if isinstance(value, torch.Tensor) else np.asarray(value)
            parts.setdefault(name, []).append(array)
    try:
        return {name: np.concatenate(values) for name, values in parts.items()}
    except ValueError as error:
        raise BadInput(
            f"calls: their inputs have different sizes ({error}). Give calls of one size, and the others "
            "as other_sizes=[(height, width)]."
        ) from error


def divide(samples: Samples, golden: int, calibration: int) -> tuple[list[int], list[int]]:
    """Return the numbers of golden and of calibration samples, disjoint by content, always the same. Raises BadInput.

    golden, calibration: how many at most. Where there are fewer, two thirds are golden, if that leaves enough for
    integers; of what lies in `train/` and `val/`, golden is of the latter alone.
    """
    order = torch.randperm(samples.count, generator=torch.Generator().manual_seed(0)).tolist()
    held_out = samples.held_out
    if held_out is not None:
        inside = set(held_out)
        first, second = [number for number in order if number in inside], [n for n in order if n not in inside]
    else:
        wanted = min(golden, max(SAMPLES, min(samples.count * 2 // 3, samples.count - LEAST_CALIBRATION)))
        first, second = order[:wanted], order[wanted:]
    chosen, marks = _distinct(samples, first, golden, set())
    ranges, _ = _distinct(samples, second, calibration, marks)
    if len(chosen) < SAMPLES or not ranges:
        raise BadInput(
            f"{samples.where}: {len(chosen)} different samples for golden; parity needs {SAMPLES}, and integers "
            f"{LEAST_CALIBRATION} others. Give at least {SAMPLES + LEAST_CALIBRATION}."
        )
    return chosen, ranges


def _distinct(samples: Samples, numbers: Sequence[int], count: int, seen: set[str]) -> tuple[list[int], set[str]]:
    """Return the first numbers whose content nobody has had, `count` at most, and the marks of all that were seen."""
    chosen: list[int] = []
    marks = set(seen)
    for number in numbers:
        if len(chosen) == count:
            break
        mark = "".join(fingerprints(value.numpy() for value in samples.inputs(number).values()))
        if mark not in marks:
            marks.add(mark)
            chosen.append(number)
    return chosen, marks


def batch(samples: Samples, numbers: Sequence[int]) -> Batch:
    """Return samples as one batch: inputs (N, …) by name, and the truth (N, …) where somebody said what is right."""
    rows = [samples.inputs(number) for number in numbers]
    inputs: Tensors = {name: torch.stack([row[name] for row in rows]) for name in samples.names}
    truths = [samples.truth(number) for number in numbers]
    if any(truth is None for truth in truths) or not truths:
        return Batch(inputs, {})
    return Batch(inputs, samples.collate(truths))
