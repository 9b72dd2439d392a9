"""Where pictures come from: one data set, one file. The folder is the registry.

    dataset = load("digits")
    dataset.read(config.data, "classification").train[0]   # (picture, truth): a PIL image or (C, H, W) uint8, its class

A file may also say what suits it: `IMAGE_SIZE` in pixels, `AUGMENTATION`, whether pictures keep their shape and are
cropped (`CROP`) or are resized to the model's, and `DETECTION`, what boxes are chosen by.
"""

import importlib
import pkgutil
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, cast

from pipeline.config import DataConfig
from records.errors import unknown

Sample = tuple[Any, Any]
"""A picture as it is stored, a PIL image or a (C, H, W) uint8 tensor, and its truth, which a task's `collate` takes."""


@dataclass(frozen=True)
class Pictures:
    """All of a data set, as it is stored."""

    train: Sequence[Sample]
    test: Sequence[Sample] | None
    """None: they are cut from the first."""
    labels: tuple[str, ...]
    strata: Sequence[int] = ()
    """Of each training sample, what both parts of a cut shall have alike, such as its class."""
    findings: tuple[str, ...] = ()
    """What a user shall be told of it, such as what was left out."""


class DataSet(Protocol):
    """The interface of a data set's file."""

    TASKS: Collection[str]
    """The tasks that it has the truth for."""
    IMAGE_SIZE: int | Mapping[str, int]
    AUGMENTATION: str | Mapping[str, str]
    CROP: bool | Mapping[str, bool]
    """Each for all tasks, or by task."""

    def read(self, config: DataConfig, task: str) -> Pictures:
        """Return its samples with the truth of a task, downloaded where they are missing and can be. Raises BadInput.

        config: settled.
        """


def names() -> list[str]:
    """Return the names of all data sets."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def load(name: str) -> DataSet:
    """Return the data set of that name. Raises BadInput."""
    if name not in names():
        raise unknown("dataset", name, names())
    return cast(DataSet, importlib.import_module(f"pipeline.datasets.{name}"))
