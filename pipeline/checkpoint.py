"""The checkpoint: weights, config, golden and calibration in one folder, with the hash of every file.

    checkpoint = Checkpoint.open(Path("runs/digits/checkpoint"))
    checkpoint.golden().outputs["logits"]      # (N, K) float32

Reading one needs no torch; only `model()` imports it. No pickle anywhere: arrays are safetensors, the rest is
TOML and JSON. A folder is written beside its place and renamed into it.
"""

import hashlib
import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from records.errors import BadInput
from records.folder import new_folder, recover_folder
from records.golden import INPUT, Golden, Patterns, Probes, Proof, part
from records.sealed import is_sealed, seal, sha256_of_file
from records.tensor import Array, Arrays, Tensor, tensors_from

if TYPE_CHECKING:
    from torch import Tensor as Tensor_
    from torch import nn


RECORD = "checkpoint.json"
WEIGHTS = "weights.safetensors"
CONFIG = "config.toml"
GOLDEN = "golden.safetensors"
CALIBRATION = "calibration.safetensors"
PROBES = "probes.safetensors"
"""File of image files as they are stored, with what training makes of them, and of patterns."""
TRAINING = "training.safetensors"
"""File of optimizer, average and random state, which `--resume` needs: only while a training is unfinished."""

FORMAT = 2
"""Raised when an older version could not read a checkpoint rightly."""
READABLE = (1, FORMAT)
"""Of format 1, the preparation stands beside its only input."""


@dataclass(frozen=True)
class Checkpoint:
    """One checkpoint on disk. Made by `open` and `write` only, so its files are what the record says."""

    folder: Path
    sha256: str
    """Hash of the record, which holds the hash of every file: it names weights, config, golden and calibration."""
    task: str
    labels: tuple[str, ...]
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    normalisation: Mapping[str, Any]
    """Mean and deviation that the model applies itself: for information, an app must not repeat them."""
    metrics: Mapping[str, float]
    environment: Mapping[str, Any]
    progress: Mapping[str, Any]
    """Epochs and steps done, whether finished, and the training's remaining state but for its arrays."""
    files: Mapping[str, str]
    """File name → sha256."""

    @property
    def finished(self) -> bool:
        """True if its training is finished; False for one written in the course of a training."""
        return bool(self.progress["finished"])

    @property
    def model_name(self) -> str:
        """Return the model's name in the configuration it was trained with: `mobilenet_v3_small`."""
        name: str = tomllib.loads((self.folder / CONFIG).read_text(encoding="utf-8"))["model"]["name"]
        return name

    @classmethod
    def open(cls, folder: Path) -> "Checkpoint":
        """Read a checkpoint and verify it. Raises BadInput for one that is missing, truncated or altered."""
        recover_folder(folder)
        record = _read_record(folder)
        for name, expected in record["files"].items():
            path = folder / name
            if not path.is_file():
                raise BadInput(f"checkpoint {folder}: {name} is missing. {_REMEDY}")
            if sha256_of_file(path) != expected:
                raise BadInput(
                    f"checkpoint {folder}: {name} was truncated or altered (its sha256 is not the recorded one). "
                    f"{_REMEDY}"
                )
        return cls._from_record(folder, record)

    @classmethod
    def _from_record(cls, folder: Path, record: Mapping[str, Any]) -> "Checkpoint":
        return cls(
            folder=folder,
            sha256=record["sha256"],
            task=record["task"],
            labels=tuple(record["labels"]),
            inputs=_inputs(record),
            outputs=tensors_from(record["outputs"]),
            normalisation=record["normalisation"],
            metrics=record["metrics"],
            environment=record["environment"],
            progress=record["progress"],
            files=record["files"],
        )

    @classmethod
    def write(cls, folder: Path, record: Mapping[str, Any], config: str, arrays: Mapping[str, Arrays]) -> "Checkpoint":
        """Write a whole checkpoint and put it in the place of the one before it. Raises NoRoom.

        record: the fields of this class but folder, sha256 and files. arrays: by file name.
        """
        from safetensors.numpy import save

        with new_folder(folder) as new:
            contents = {CONFIG: config.encode(), **{name: save(dict(values)) for name, values in arrays.items()}}
            for name, content in contents.items():
                (new / name).write_bytes(content)
            hashes = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
            signed = seal({"format": FORMAT, **record, "files": hashes})
            (new / RECORD).write_text(json.dumps(signed, indent=1))
        return cls._from_record(folder, json.loads(json.dumps(signed)))

    def arrays(self, file: str) -> dict[str, Array]:
        """Read the arrays of one of its files by name."""
        from safetensors.numpy import load_file

        arrays: dict[str, Array] = load_file(self.folder / file)
        return arrays

    def golden(self) -> Golden:
        """Read held-out samples and PyTorch's outputs for them. Raises BadInput where one of the arrays is missing."""
        golden = Golden.of(self.arrays(GOLDEN))
        for kind, arrays, tensors in (
            ("input", golden.inputs, self.inputs),
            ("output", golden.outputs, self.outputs),
            ("oracle", golden.oracle, self.outputs),
        ):
            for tensor in tensors:
                if tensor.name not in arrays:
                    raise BadInput(f"checkpoint {self.folder}: {GOLDEN} has no {kind} {tensor.name}. {_REMEDY}")
        return golden

    def calibration(self) -> dict[str, Array]:
        """Read training samples, which set integer ranges: (N, …) float32 by input."""
        return part(self.arrays(CALIBRATION), INPUT)

    def probes(self) -> Probes | None:
        """Read image files and what training makes of them; None: the checkpoint is from before they were kept."""
        probes = Probes.of(self._probes())
        return probes if probes.files else None

    def patterns(self) -> Patterns | None:
        """Read inputs unlike golden's; None: the checkpoint is from before they were kept."""
        patterns = Patterns.of(self._probes())
        return patterns if patterns.inputs else None

    def proof(self) -> Proof:
        """Read all the arrays that an artifact is judged by."""
        return Proof(self.golden(), self.probes(), self.patterns())

    def _probes(self) -> dict[str, Array]:
        return self.arrays(PROBES) if PROBES in self.files else {}

    def example(self) -> "tuple[Tensor_, ...]":
        """Return two calibration samples per input, in order, for a tracer to run: (2, …) float32.

        Two, because torch.export takes an axis of length one for a constant.
        """
        import torch

        calibration = self.calibration()
        return tuple(torch.from_numpy(calibration[tensor.name][:2]) for tensor in self.inputs)

    def model(self) -> "nn.Module":
        """Return the model in float32, eval mode, on the CPU; it takes the inputs in order and returns the outputs."""
        from safetensors.torch import load_file

        from pipeline import config, models, tasks

        model = tasks.load(self.task).build(config.read(self.folder / CONFIG), self.labels, weights=False)
        models.fill(model, load_file(self.folder / WEIGHTS))
        return model.eval()


def _inputs(record: Mapping[str, Any]) -> tuple[Tensor, ...]:
    """Return the inputs that a record describes."""
    beside = {"preparation": record["preparation"]} if "preparation" in record else {}
    return tensors_from({**item, **beside} for item in record["inputs"])


_REMEDY = "Restore it from a copy, or train again: anywhere train --force."


def _read_record(folder: Path) -> dict[str, Any]:
    path = folder / RECORD
    if not path.is_file():
        raise BadInput(f"checkpoint {folder}: there is none. Train first: anywhere train.")
    try:
        record: dict[str, Any] = json.loads(path.read_text())
    except ValueError as error:
        raise BadInput(f"checkpoint {folder}: {RECORD} was truncated or altered ({error}). {_REMEDY}") from error
    if not is_sealed(record):
        raise BadInput(f"checkpoint {folder}: {RECORD} was altered (its sha256 is not the recorded one). {_REMEDY}")
    if record["format"] not in READABLE:
        raise BadInput(
            f"checkpoint {folder}: format {record['format']}, this version reads {FORMAT}. Train again: anywhere "
            "train --force."
        )
    return record
