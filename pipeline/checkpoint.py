"""The checkpoint: weights, program, config, golden and calibration in one folder, with the hash of every file.

    checkpoint = Checkpoint.open(Path("runs/digits/checkpoint"))
    checkpoint.golden().outputs["logits"]      # (N, K) float32

Reading one needs no torch; only `program()` and `model()` import it, and no code but PyTorch's is run by them. No
pickle anywhere: arrays are safetensors, the program is a `.pt2` that is examined first, the rest is TOML and JSON. A
folder is written beside its place and renamed into it.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from records.arrays import read_arrays, unlike
from records.errors import AGAIN, FIRST, BadInput, shortened
from records.folder import new_folder, recover_folder
from records.golden import (
    FILE,
    INPUT,
    ORACLE,
    OUTPUT,
    PATTERN,
    PATTERNS,
    Golden,
    Patterns,
    Probes,
    Proof,
    Sized,
    part,
)
from records.head import FILE as HEAD
from records.head import Head
from records.preparation import check_preparations
from records.schema import check_schema, read_json
from records.sealed import is_sealed, seal, sha256_of_file
from records.tensor import Array, Arrays, Tensor, tensors_from

if TYPE_CHECKING:
    from torch import Tensor as Tensor_
    from torch.export import ExportedProgram
    from torch.fx import GraphModule

    from pipeline.program import Refusal


RECORD = "checkpoint.json"
WEIGHTS = "weights.safetensors"
PROGRAM = "program.pt2"
"""File of the model as `torch.export` gives it: of a finished training, where PyTorch does not refuse the model."""
TORCHSCRIPT = "torchscript.pt"
"""File of the model as TorchScript, where there is no program and TorchScript does without."""
CONFIG = "config.toml"
GOLDEN = "golden.safetensors"
CALIBRATION = "calibration.safetensors"
PROBES = "probes.safetensors"
"""File of image files as they are stored, with what training makes of them, and of patterns."""
TRAINING = "training.safetensors"
"""File of optimizer, average and random state, which `--resume` needs: only while a training is unfinished."""

FORMAT = 3
"""Raised when an older version could not read a checkpoint rightly. Since 3, the program is in it."""


@dataclass(frozen=True)
class Progress:
    """How far a training is."""

    epoch: int
    step: int
    epochs: int
    """How many there are to be; 0: the model was adopted."""
    finished: bool


@dataclass(frozen=True)
class Words:
    """`pipeline.program.Refusal` as a record has it."""

    reason: str
    line: str
    remedy: str


@dataclass(frozen=True)
class Source:
    """What is read of `pipeline.weights.Loaded` again."""

    file: str
    trusted: bool = False


@dataclass(frozen=True)
class Parts:
    """The types of what lies within fields of a checkpoint's record."""

    progress: Progress
    refusals: Mapping[str, Words]
    loaded: Source | None


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
    model_name: str
    """What it is a checkpoint of: `mobilenet_v3_small`, `mypkg.nets:build`."""
    refusals: Mapping[str, Mapping[str, str]]
    """Why there is no `program` of a finished model, and no `torchscript` instead, as `pipeline.program.Refusal`
    records it."""
    loaded: Mapping[str, Any] | None
    """Which of whose weights were loaded, as `pipeline.weights.Loaded` records it; None: they were trained here."""
    findings: tuple[str, ...]
    """Sentences about the model that a user should read, such as a dropout that is never off."""
    decoding: Mapping[str, float] = field(default_factory=dict)
    """What a detector's boxes are chosen by, as `pipeline.detectors.Decoding` records it; empty: it chooses nothing."""

    @property
    def finished(self) -> bool:
        """True if its training is finished; False for one written in the course of a training."""
        return bool(self.progress["finished"])

    @property
    def batch(self) -> int | None:
        """Return the only batch size that the model takes; None: any."""
        size = self.inputs[0].shape[0]
        return size if isinstance(size, int) else None

    @classmethod
    def open(cls, folder: Path) -> "Checkpoint":
        """Read a checkpoint and verify it. Raises BadInput for one that is missing, truncated or altered."""
        recover_folder(folder)
        record = _read_record(folder)
        where = f"checkpoint {folder}: {RECORD}"
        check_schema(cls, {**record, "folder": str(folder)}, where, _REMEDY)
        check_schema(Parts, record, where, _REMEDY)
        try:
            checkpoint = cls._from_record(folder, record)
        except ValueError as error:
            raise BadInput(f"{where} is malformed: {shortened(error)}. {_REMEDY}") from error
        if CONFIG not in checkpoint.files or GOLDEN not in checkpoint.files or CALIBRATION not in checkpoint.files:
            raise BadInput(f"{where} is malformed: files: {CONFIG}, {GOLDEN} or {CALIBRATION} is missing. {_REMEDY}")
        check_preparations(checkpoint.inputs, where, _REMEDY, whole=True)
        for name, expected in checkpoint.files.items():
            path = folder / name
            if not path.is_file() or path.is_symlink() or path.parent != folder:
                raise BadInput(f"checkpoint {folder}: {shortened(name)} is missing. {_REMEDY}")
            if sha256_of_file(path) != expected:
                raise BadInput(
                    f"checkpoint {folder}: {name} was truncated or altered (its sha256 is not the recorded one). "
                    f"{_REMEDY}"
                )
        return checkpoint

    @classmethod
    def _from_record(cls, folder: Path, record: Mapping[str, Any]) -> "Checkpoint":
        return cls(
            folder=folder,
            sha256=record["sha256"],
            task=record["task"],
            labels=tuple(record["labels"]),
            inputs=tensors_from(record["inputs"]),
            outputs=tensors_from(record["outputs"]),
            normalisation=record["normalisation"],
            metrics=record["metrics"],
            environment=record["environment"],
            progress=record["progress"],
            files=record["files"],
            model_name=record["model_name"],
            refusals=record["refusals"],
            loaded=record["loaded"],
            findings=tuple(record["findings"]),
            decoding=record.get("decoding", {}),
        )

    @classmethod
    def write(
        cls,
        folder: Path,
        record: Mapping[str, Any],
        config: str,
        arrays: Mapping[str, Arrays],
        add: Callable[[Path], None] = lambda _: None,
    ) -> "Checkpoint":
        """Write a whole checkpoint and put it in the place of the one before it. Raises NoRoom.

        record: the fields of this class but folder, sha256 and files. arrays: by file name. add: writes further files
        into the new folder, such as the program.
        """
        from safetensors.numpy import save

        with new_folder(folder) as new:
            (new / CONFIG).write_bytes(config.encode())
            for name, values in arrays.items():
                (new / name).write_bytes(save(dict(values)))  # its own writer has another error for a full disk
            add(new)
            hashes = {path.name: sha256_of_file(path) for path in sorted(new.iterdir())}
            signed = seal({"format": FORMAT, **record, "files": hashes})
            (new / RECORD).write_text(json.dumps(signed, indent=1), encoding="utf-8")
        return cls._from_record(folder, json.loads(json.dumps(signed)))

    def head(self) -> Head | None:
        """Return what makes boxes of a raw head's outputs; None: it has others. Raises BadInput for a malformed one."""
        if HEAD not in self.files:
            return None
        try:
            return Head.read(self.folder / HEAD)
        except (ValueError, KeyError, TypeError, IndexError) as error:
            raise BadInput(f"checkpoint {self.folder}: {HEAD} is malformed: {error}. {_REMEDY}") from error

    def arrays(self, file: str) -> dict[str, Array]:
        """Read the arrays of one of its files by name. Raises BadInput where it is none of them, or no safetensors."""
        where = f"checkpoint {self.folder}: {file}"
        if file not in self.files:
            raise BadInput(f"{where} is missing. {_REMEDY}")
        return read_arrays(self.folder / file, where, _REMEDY)

    def _check(self, file: str, problems: Iterable[str]) -> None:
        """Raise BadInput for the first problem of a file's arrays, if there is any."""
        if problem := next(filter(None, problems), ""):
            raise BadInput(f"checkpoint {self.folder}: {file}: {problem}. {_REMEDY}")

    def golden(self) -> Golden:
        """Read held-out samples and PyTorch's outputs for them. Raises BadInput where they are not as described."""
        golden = Golden.of(self.arrays(GOLDEN))
        self._check(GOLDEN, self._unlike(golden))
        count = len(next(iter(golden.inputs.values())))
        for name, values in golden.truth.items():
            if values.shape[:1] != (count,):
                self._check(GOLDEN, [f"{shortened(name)} has the shape {values.shape}, of {count} samples"])
        return golden

    def _unlike(self, arrays: Golden | Probes | Patterns | Sized, any_size: bool = False) -> Iterator[str]:
        """Yield how inputs, outputs and oracle differ from this model's; outputs and oracle are of as many samples."""
        yield _of(INPUT, unlike(arrays.inputs, self.inputs, any_size=any_size))
        count = len(arrays.inputs[self.inputs[0].name])
        yield _of(OUTPUT, unlike(arrays.outputs, self.outputs, count, any_size=any_size))
        yield _of(ORACLE, unlike(arrays.oracle, self.outputs, count, exact=False, any_size=any_size))
        for tensor in self.outputs if any_size else ():
            if arrays.oracle[tensor.name].shape != arrays.outputs[tensor.name].shape:
                yield f"{ORACLE} {tensor.name} has another shape than {OUTPUT}"

    def calibration(self) -> dict[str, Array]:
        """Read training samples, which set integer ranges: (N, …) float32 by input. Raises BadInput."""
        calibration = part(self.arrays(CALIBRATION), INPUT)
        self._check(CALIBRATION, [_of(INPUT, unlike(calibration, self.inputs))])
        return calibration

    def probes(self) -> Probes | None:
        """Read image files and what training makes of them; None: the checkpoint is from before they were kept.

        Raises BadInput.
        """
        try:
            probes = Probes.of(self._probes())
        except KeyError as error:
            raise BadInput(f"checkpoint {self.folder}: {PROBES}: has no {shortened(error)}. {_REMEDY}") from error
        if not probes.files:
            return None
        self._check(PROBES, self._unlike(probes))
        for name, files in probes.files.items():
            count = len(probes.inputs[name])
            if len(files) != count or any(file.dtype != "uint8" or file.ndim != 1 for file in files):
                self._check(PROBES, [f"{FILE} {name} is not {count} files of bytes"])
        return probes

    def patterns(self) -> Patterns | None:
        """Read inputs unlike golden's; None: the checkpoint is from before they were kept. Raises BadInput."""
        patterns = Patterns.of(self._probes())
        if not patterns.inputs:
            return None
        self._check(PROBES, self._unlike(patterns))
        count = len(patterns.inputs[self.inputs[0].name])
        for tensor in self.outputs:
            floor = patterns.floors.get(tensor.name)
            if count > len(PATTERNS) or floor is None or floor.shape != (count,) or floor.dtype.kind != "f":
                self._check(PROBES, [f"{PATTERN} has no {count} floors of {tensor.name}, of {len(PATTERNS)} at most"])
        return patterns

    def sizes(self) -> tuple[Sized, ...]:
        """Read samples at other heights and widths; none: the model takes one. Raises BadInput."""
        sizes = Sized.every(self._probes())
        for sized in sizes:
            self._check(PROBES, self._unlike(sized, any_size=True))
        return sizes

    def proof(self) -> Proof:
        """Read all the arrays that an artifact is judged by."""
        return Proof(self.golden(), self.probes(), self.patterns(), self.sizes())

    def _probes(self) -> dict[str, Array]:
        return self.arrays(PROBES) if PROBES in self.files else {}

    def example(self) -> "tuple[Tensor_, ...]":
        """Return two calibration samples per input, in order, for a tracer to run: (2, …) float32.

        Two, because torch.export takes an axis of length one for a constant; of a model that takes one, one.
        """
        import torch

        calibration = self.calibration()
        return tuple(torch.from_numpy(calibration[tensor.name][: self.batch or 2]) for tensor in self.inputs)

    def program(self) -> "ExportedProgram":
        """Return the model as `torch.export` gave it. Raises BadInput for one that could do more than compute."""
        from pipeline import program

        if refusal := self.refused("program"):
            raise BadInput(f"checkpoint {self.folder}: {refusal.told('a program')}")
        if PROGRAM not in self.files:
            raise BadInput(
                f"checkpoint {self.folder}: its training is not finished, so no program is in it. Go on with: anywhere "
                f"train --resume --run {self.folder.parent.name}."
            )
        return program.load(self.folder / PROGRAM)

    def refused(self, capture: str) -> "Refusal | None":
        """Return why a finished model has no such capture, `program` or `torchscript`; None: it was not refused."""
        from pipeline.program import Refusal

        return Refusal(**self.refusals[capture]) if capture in self.refusals else None

    def model(self) -> "GraphModule":
        """Return the program as a module: float32, eval mode, on the CPU.

        It takes the inputs in order, and returns the outputs as a tuple in order. Raises BadInput.
        """
        from torch.fx import GraphModule

        module = self.program().module(check_guards=False)
        return GraphModule(module, module.graph)  # whose mode can be set, as every exporter does


def _of(kind: str, problem: str) -> str:
    return f"{kind} {problem}" if problem else ""


_REMEDY = f"Restore it from a copy, or make it again. {AGAIN}."


def _read_record(folder: Path) -> dict[str, Any]:
    path = folder / RECORD
    if not path.is_file():
        raise BadInput(f"checkpoint {folder}: there is none. {FIRST}.")
    record: dict[str, Any] = read_json(path, f"checkpoint {folder}: {RECORD}", _REMEDY)
    if not is_sealed(record):
        raise BadInput(f"checkpoint {folder}: {RECORD} was altered (its sha256 is not the recorded one). {_REMEDY}")
    if record.get("format") != FORMAT:
        raise BadInput(
            f"checkpoint {folder}: format {shortened(record.get('format'))}, this version reads {FORMAT}, which has "
            f"the program in it. {AGAIN}."
        )
    return record
