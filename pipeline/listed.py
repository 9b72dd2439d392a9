"""Picture files with a class each, of a folder or a list: what training and adoption share.

    rows = read_csv(Path("list.csv"), "dataset csv list.csv")
    pictures = pictures_of(rows, labels, "dataset csv list.csv", config)
    pictures.train[0]                          # (a PIL image, its class)

All files are decoded once before a training, so that none fails in the midst of it.
"""

import csv
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

from pipeline.config import DataConfig
from pipeline.datasets import Pictures, Sample
from pipeline.pictures import SUFFIXES, counted, damaged, opened, refusal
from records.errors import BadInput

TRAIN = "train"
HELD_OUT = ("val", "test", "validation")
"""Names of a split beside `train`, of which the first that there is counts."""
SKIP = "--set data.skip_corrupt=true"
"""The setting that leaves out files that cannot be decoded."""


@dataclass(frozen=True)
class Row:
    """A picture file as a list or a folder names it."""

    file: Path
    label: str = ""
    """The name of its class; empty: nobody said."""
    split: str = ""
    """`TRAIN`, or one of `HELD_OUT`; empty: nobody said."""


@dataclass(frozen=True)
class Listed(Sequence[Sample]):
    """Files and the class of each; a file is opened when its sample is asked for."""

    files: tuple[Path, ...]
    classes: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, number: Any) -> Any:
        return opened(self.files[number]), self.classes[number]


def read_csv(place: Path, where: str) -> list[Row]:
    """Return the rows of a CSV: a file's path, relative to the CSV, its class and its split, or the first alone.

    A heading may be there; a third column that it does not call `split` is not read. Raises BadInput.
    """
    try:
        with place.open(newline="", encoding="utf-8-sig") as lines:
            lists = [[cell.strip() for cell in cells] for cells in csv.reader(lines) if any(cells)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise BadInput(
            f"{where}: cannot be read ({error}). Write UTF-8, with commas between path and class."
        ) from error
    has_split = True
    if lists and _is_heading(place, lists[0]):
        has_split = [name.lower() for name in lists[0][2:3]] == ["split"]
        lists = lists[1:]
    rows = []
    for path, label, split, *_ in ([*cells, "", ""] for cells in lists):
        rows.append(Row(place.parent / path, label, split.lower() if has_split else ""))
    _check(rows, where)
    return rows


def _is_heading(place: Path, cells: Sequence[str]) -> bool:
    """True if the first row names columns: neither a file that is there, nor one that looks like a picture."""
    return not (place.parent / cells[0]).is_file() and Path(cells[0]).suffix.lower() not in SUFFIXES


def _check(rows: Sequence[Row], where: str) -> None:
    """Raise BadInput for files that are not there, and for splits that are none."""
    if missing := [row.file for row in rows if not row.file.is_file()]:
        raise BadInput(
            f"{where}: {len(missing)} of its {len(rows)} files are not there, the first {missing[0]}. Write paths "
            "relative to the CSV."
        )
    splits = {row.split for row in rows}
    if splits == {""}:
        return
    for row in rows:
        if row.split not in {TRAIN, *HELD_OUT}:
            raise BadInput(
                f"{where}: {row.file.name} is in the split {row.split!r}. Write {TRAIN} or {HELD_OUT[0]} in the third "
                "column, or leave it out."
            )


def in_splits(rows: Sequence[Row]) -> tuple[list[Row], str, tuple[str, ...]]:
    """Return the rows of `train` and of the split that is held out, its name, and what there is to say of others.

    All rows and no name, where they are in no split, or in one alone.
    """
    held_out = next((name for name in HELD_OUT if any(row.split == name for row in rows)), "")
    if not held_out or not any(row.split == TRAIN for row in rows):
        return list(rows), "", ()
    inside = [row for row in rows if row.split in {TRAIN, held_out}]
    others = Counter(row.split for row in rows if row.split not in {TRAIN, held_out})
    return inside, held_out, tuple(f"{count} files of the split {name} are left out" for name, count in others.items())


def pictures_of(rows: Sequence[Row], labels: Sequence[str], where: str, config: DataConfig) -> Pictures:
    """Return the data set of files that each have one of the labels; without splits, one is to be cut from them.

    Raises BadInput, for files that cannot be decoded unless `data.skip_corrupt` leaves them out.
    """
    _check_labelled(rows, labels, where)
    rows, held_out, findings = in_splits(rows)
    if not held_out and (splits := sorted({row.split for row in rows} - {""})):
        raise BadInput(
            f"{where}: all files are in the split {' or '.join(splits)}. Put some into {TRAIN} and some into "
            f"{HELD_OUT[0]}, or leave the column out."
        )
    rows, left_out = intact(rows, where, config)
    findings += left_out
    test = [row for row in rows if held_out and row.split == held_out]
    train = [row for row in rows if not held_out or row.split == TRAIN]
    if unseen := sorted(set(labels) - {row.label for row in train}):
        raise BadInput(f"{where}: no training image of class {unseen[0]} can be read. Add some, or remove the class.")
    if held_out and not test:
        raise BadInput(f"{where}: no image of the split {held_out} can be read. Add some.")
    samples = _listed(train, labels)
    if held_out:
        return Pictures(samples, _listed(test, labels), tuple(labels), findings=findings)
    return Pictures(samples, None, tuple(labels), samples.classes, findings)


class OfFile(Protocol):
    """What is told of a picture file."""

    @property
    def file(self) -> Path:
        """Return where it is."""


Told = TypeVar("Told", bound=OfFile)


def intact(rows: Sequence[Told], where: str, config: DataConfig) -> tuple[list[Told], tuple[str, ...]]:
    """Return the rows whose files can be decoded, and a finding where others are left out.

    Raises BadInput for others, unless `data.skip_corrupt` leaves them out.
    """
    kept, damage = undamaged(rows)
    if damage and not config.skip_corrupt:
        raise refusal(where, damage, SKIP)
    return kept, (f"{where}: {damage}; they are left out",) if damage else ()


def undamaged(rows: Sequence[Told]) -> tuple[list[Told], str]:
    """Return the rows whose files can be decoded, and in words how many others there are; empty: none."""
    files = [row.file for row in rows]
    reasons = damaged(files)
    kept = [row for number, row in enumerate(rows) if number not in reasons]
    return kept, counted(files, reasons) if reasons else ""


def _check_labelled(rows: Sequence[Row], labels: Sequence[str], where: str) -> None:
    """Raise BadInput for fewer than two classes, and for a file that is there twice."""
    if len(labels) < 2:
        listed = f"one class ({labels[0]})" if labels else "no image"
        raise BadInput(f"{where}: {listed}, at least two classes are needed. List images of others.")
    times = Counter(os.path.normpath(row.file) for row in rows)
    if twice := next((file for file, count in times.items() if count > 1), None):
        raise BadInput(f"{where}: {twice} is listed twice, and may be trained on and tested on. List it once.")


def _listed(rows: Sequence[Row], labels: Sequence[str]) -> Listed:
    numbers = {label: number for number, label in enumerate(labels)}
    return Listed(tuple(row.file for row in rows), tuple(numbers[row.label] for row in rows))
