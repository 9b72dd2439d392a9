"""Further held-out samples, beyond golden, of the data that a checkpoint was made with: for decisions on more of them.

    reader = of(checkpoint, 1000)              # raises BadInput where nothing proves that they are held out
    for batch in reader.batches(): …
    reader.findings()

That the data are still the same is proved by what lies in the checkpoint: golden and calibration, chosen again, have
to be equal to the last bit. A sample is taken if it is in the held-out split, and if neither golden nor calibration nor
the training split has a picture of the same pixels. Pictures are read, and no module of the user's is imported.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from pydantic import Field

from measures.signal import SAMPLES
from pipeline import config as configs
from pipeline import data, samples
from pipeline.checkpoint import CONFIG, Checkpoint
from pipeline.data import Preparation, opaque
from pipeline.golden import calibration, choose, to_numpy
from pipeline.tasks import Batch
from records.errors import BadInput, shortened
from records.schema import check_schema
from records.sealed import fingerprints
from records.settings import read_toml
from records.tensor import Array, Arrays

TOGETHER = 256
"""Samples of one batch: so many are in memory at a time."""
WITHOUT = "or leave --decisions out"
Count = Annotated[int, Field(ge=1)]


@dataclass(frozen=True)
class Adopted:
    """What is read of an adoption's configuration again."""

    images: str = ""
    golden: Count = SAMPLES
    calibration: Count = 1
    skip_corrupt: bool = False


@dataclass(frozen=True)
class Source:
    """Held-out samples by number, and what of them is taken already."""

    where: str
    """What they are read from, for a sentence."""
    labels: tuple[str, ...]
    preparation: Preparation
    batch: Callable[[Sequence[int]], Batch]
    """Return samples of these numbers, prepared."""
    picture: Callable[[int], Any]
    """Return a sample's picture as it is stored."""
    golden: Sequence[int]
    others: Sequence[int]
    """Numbers of the held-out samples that are not golden, always in the same order."""
    calibration: Callable[[], Arrays]
    """Return calibration (N, …) by input, chosen again."""
    trained: Callable[[], Iterator[Any]]
    """Return the pictures of the training split as they are stored; none, where nobody said which they are."""


class Reader:
    """The further samples of a source, read one by one."""

    def __init__(self, source: Source, checkpoint: Checkpoint, wanted: int):
        self.source, self.wanted, self.taken, self.double = source, wanted, 0, 0
        names = [tensor.name for tensor in checkpoint.inputs]
        proof = [checkpoint.golden().inputs, checkpoint.calibration()]
        self._seen = {mark for arrays in proof for mark in _marks(arrays, names)}
        self._names = names

    def batches(self) -> Iterator[Batch]:
        """Yield the samples, up to `TOGETHER` at a time. Raises BadInput where there is none."""
        rows: list[Batch] = []
        trained = {_mark(picture) for picture in self.source.trained()}
        for number in self.source.others:
            if self.taken == self.wanted:
                break
            row = self.source.batch([number])
            mark = _marks(to_numpy(row.inputs), self._names)[0]
            if mark in self._seen or _mark(self.source.picture(number)) in trained:
                self.double += 1
                continue
            self._seen.add(mark)
            rows.append(row)
            self.taken += 1
            if len(rows) == TOGETHER:
                yield _joined(rows)
                rows = []
        if rows:
            yield _joined(rows)
        if not self.taken:
            raise BadInput(
                f"--decisions: {self.source.where} has no held-out samples beyond the {len(self.source.golden)} of "
                f"golden. Hold out more images and make the checkpoint again with a smaller golden, {WITHOUT}."
            )

    def findings(self) -> list[str]:
        """Return what there is to say once all are read: that there are fewer than were asked for, and what was left
        out.
        """
        sentences = []
        if self.taken < self.wanted:
            sentences.append(
                f"{self.taken:,} further samples are all that {self.source.where} holds out beyond golden; "
                f"{self.wanted:,} were asked for (--decisions)"
            )
        if self.double:
            sentences.append(
                f"{self.double:,} held-out images of {self.source.where} are left out of the further samples, for "
                "training, calibration, golden or another of them has the same pixels"
            )
        return sentences


def of(checkpoint: Checkpoint, count: int) -> Reader:
    """Return a reader of `count` further samples at most.

    Raises BadInput where the data are not there, are not what the checkpoint was made with any more, or say nothing of
    what is right.
    """
    values = read_toml(checkpoint.folder / CONFIG)
    try:
        source = _adopted(checkpoint, values["adopt"]) if "adopt" in values else _trained(checkpoint)
    except Unreadable as error:
        reason = str(error.__cause__).partition(". ")[0]
        raise BadInput(
            f"--decisions: the data that this checkpoint was made with cannot be read ({reason}). Put them back where "
            f"they were, {WITHOUT}."
        ) from error
    _check_same(source, checkpoint)
    return Reader(source, checkpoint, count)


class Unreadable(Exception):
    """The error of data that are not there; its cause says why, with a remedy of another command."""


def _trained(checkpoint: Checkpoint) -> Source:
    """Return the test split of a training."""
    config = configs.read(checkpoint.folder / CONFIG).with_values("data", download=False)
    try:
        loaded = data.load(config)
    except BadInput as error:
        raise Unreadable from error
    order = choose(loaded.test, len(loaded.test))
    golden, number = _counts(checkpoint)
    train = loaded.train

    def again() -> Arrays:
        image = loaded.test.batch(order[:golden]).inputs[data.IMAGE]
        return to_numpy(calibration(loaded, number, image))

    return Source(
        where=f"dataset {config.data.dataset} {config.data.folder}".rstrip(),
        labels=loaded.labels,
        preparation=loaded.preparation,
        batch=loaded.test.batch,
        picture=loaded.test.picture,
        golden=order[:golden],
        others=order[golden:],
        calibration=again,
        trained=lambda: (train.picture(place) for place in range(len(train))),
    )


def _adopted(checkpoint: Checkpoint, record: Any) -> Source:
    """Return the labelled pictures that a model was adopted with, or their split `val`."""
    where = f"checkpoint {checkpoint.folder}: {CONFIG}"
    check_schema(Adopted, record, where, f"Adopt it again, {WITHOUT}.")
    known = {name: record[name] for name in Adopted.__dataclass_fields__ if name in record}
    asked = Adopted(**known)
    if not asked.images or not checkpoint.golden().truth:
        raise BadInput(
            "--decisions: this model was adopted without labelled images, so nobody says what is right for further "
            f"samples. Adopt it again with --images FOLDER, a folder for each class in it, {WITHOUT}."
        )
    tensor = next(tensor for tensor in checkpoint.inputs if tensor.preparation)
    assert tensor.preparation
    preparation = Preparation(**{key: _sides(value) for key, value in tensor.preparation.items()})
    try:
        labels, skip = checkpoint.labels, asked.skip_corrupt
        given = samples.pictures(Path(asked.images), preparation, labels, tensor.name, skip, checkpoint.task)
        golden, ranges = samples.divide(given, asked.golden, asked.calibration)
    except BadInput as error:
        raise Unreadable from error
    order = torch.randperm(given.count, generator=torch.Generator().manual_seed(0)).tolist()
    inside, taken = set(order if given.held_out is None else given.held_out), {*golden, *ranges}
    return Source(
        where=given.where,
        labels=given.labels,
        preparation=preparation,
        batch=lambda numbers: samples.batch(given, numbers),
        picture=given.picture,
        golden=golden,
        others=[number for number in order if number in inside and number not in taken],
        calibration=lambda: to_numpy(samples.batch(given, ranges).inputs),
        trained=lambda: (given.picture(number) for number in order if number not in inside),
    )


def _sides(value: Any) -> Any:
    """Return height and width, which JSON has as a list, as the pair that they are."""
    return tuple(value) if isinstance(value, list) else value


def _counts(checkpoint: Checkpoint) -> tuple[int, int]:
    """Return how many samples golden and calibration have."""
    golden, ranges = checkpoint.golden().inputs, checkpoint.calibration()
    return len(next(iter(golden.values()))), len(next(iter(ranges.values())))


def _check_same(source: Source, checkpoint: Checkpoint) -> None:
    """Raise BadInput unless golden and calibration are, to the last bit, what the source gives for them again."""
    recorded = [tensor.preparation for tensor in checkpoint.inputs if tensor.preparation]
    if json.loads(json.dumps(source.preparation.record())) not in json.loads(json.dumps(recorded)):
        raise _changed(source, "its images are prepared otherwise")
    if source.labels != checkpoint.labels:
        raise _changed(source, f"its classes are {shortened(', '.join(source.labels))}")
    golden = checkpoint.golden()
    if len(source.golden) != len(next(iter(golden.inputs.values()))):
        raise _changed(source, f"{len(source.golden)} of its samples would be golden")
    again = source.batch(source.golden)
    _check_equal(source, "golden", {**golden.inputs, **golden.truth}, to_numpy({**again.inputs, **again.truth}))
    _check_equal(source, "calibration", checkpoint.calibration(), source.calibration())


def _check_equal(source: Source, kind: str, kept: Arrays, again: Arrays) -> None:
    """Raise BadInput for arrays (N, …) that are not the same. kind: what they are, for the sentence."""
    for name, values in kept.items():
        other = again.get(name)
        if other is None or other.shape != values.shape:
            raise _changed(source, f"{kind} would have other {name}")
        count = int((other != values).reshape(len(values), -1).any(axis=1).sum())
        if count:
            raise _changed(source, f"{count} of {len(values)} {kind} samples have other {name}")


def _changed(source: Source, what: str) -> BadInput:
    return BadInput(
        f"--decisions: {source.where} is not what this checkpoint was made with any more ({what}), so nothing proves "
        f"which of its samples are held out. Put it back as it was, make the checkpoint again, {WITHOUT}."
    )


def _marks(arrays: Arrays, names: Sequence[str]) -> list[str]:
    """Return a mark of each sample of (N, …), by what it has of all inputs together."""
    return ["".join(each) for each in zip(*(fingerprints(arrays[name]) for name in names), strict=True)]


def _mark(picture: Any) -> str:
    """Return a mark of a picture as it is stored, by its pixels alone."""
    pixels: Array = np.asarray(opaque(picture).as_subclass(torch.Tensor))
    return f"{pixels.shape}{fingerprints([pixels])[0]}"


def _joined(rows: Sequence[Batch]) -> Batch:
    """Return batches as one."""
    first = rows[0]
    return Batch(
        {name: torch.cat([row.inputs[name] for row in rows]) for name in first.inputs},
        {name: torch.cat([row.truth[name] for row in rows]) for name in first.truth},
    )
