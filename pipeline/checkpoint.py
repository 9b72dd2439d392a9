"""The checkpoint: weights, config, golden and calibration in one folder, with the hash of every file.

    checkpoint = Checkpoint.open(Path("runs/digits/checkpoint"))
    checkpoint.golden()["output.logits"]       # (N, K) float32

Reading one needs no torch; only `model()` imports it. No pickle anywhere: arrays are safetensors, the rest is
TOML and JSON. A folder is written beside its place and renamed into it.
"""

import fcntl
import hashlib
import json
import os
import re
import shutil
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.errors import BadInput, room_for

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor as Tensor_
    from torch import nn

    Arrays = Mapping[str, np.ndarray[Any, Any]]

RECORD = "checkpoint.json"
WEIGHTS = "weights.safetensors"
CONFIG = "config.toml"
GOLDEN = "golden.safetensors"
CALIBRATION = "calibration.safetensors"
PROBES = "probes.safetensors"
"""Image files as they are stored, and what training makes of them; patterns."""
PATTERNS = ("black", "white", "checkerboard", "noise", "shifted")
"""Inputs unlike golden's, in the order in which they are run: a slow runtime takes the first."""
PATTERN = "pattern."
"""What stands before the names of their arrays."""
TRAINING = "training.safetensors"
"""Optimizer, average, random state: there while a training is unfinished, for `--resume`."""

FORMAT = 1
"""Raised when an older version could not read a checkpoint rightly."""


@dataclass(frozen=True)
class Tensor:
    """One input or output of the exported model, as every target has it unless its manifest says otherwise."""

    name: str
    dtype: str
    shape: tuple[int | str, ...]
    """A string is an axis of any length: `batch`."""
    layout: str = ""
    """One letter per axis: NCHW, NHWC, NK."""
    range: tuple[float, float] | None = None
    """Least and greatest value an input may have."""
    channels: str = ""
    """Their order: RGB."""
    scale: float | None = None
    """Of an integer tensor: (value − zero_point) · scale is the number it stands for. None: the value itself."""
    zero_point: int = 0


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
    preparation: Mapping[str, Any]
    """How an image file becomes the input, as `pipeline.data.Preparation` documents it."""
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
        """False for a checkpoint written in the course of a training."""
        return bool(self.progress["finished"])

    @property
    def model_name(self) -> str:
        """As in the configuration it was trained with: `mobilenet_v3_small`."""
        name: str = tomllib.loads((self.folder / CONFIG).read_text(encoding="utf-8"))["model"]["name"]
        return name

    @classmethod
    def open(cls, folder: Path) -> "Checkpoint":
        """Read and verify. Raises BadInput for one that is missing, truncated or altered."""
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
            inputs=tuple(tensor_from(item) for item in record["inputs"]),
            outputs=tuple(tensor_from(item) for item in record["outputs"]),
            preparation=record["preparation"],
            normalisation=record["normalisation"],
            metrics=record["metrics"],
            environment=record["environment"],
            progress=record["progress"],
            files=record["files"],
        )

    @classmethod
    def write(
        cls, folder: Path, record: Mapping[str, Any], config: str, arrays: Mapping[str, "Arrays"]
    ) -> "Checkpoint":
        """Write a whole checkpoint and put it in the place of the one before it.

        record: the fields of this class but folder, sha256 and files. arrays: by file name. Raises NoRoom.
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

    def arrays(self, file: str) -> dict[str, Any]:
        """The arrays of one of its files by name."""
        from safetensors.numpy import load_file

        return load_file(self.folder / file)

    def golden(self) -> dict[str, Any]:
        """`input.<name>` (N, …) float32; `output.<name>` (N, …) float32: PyTorch, eager, CPU; `oracle.<name>` (N, …)
        float64: the same in double precision; `labels` (N,) int64. All are samples that were not trained on."""
        return self.arrays(GOLDEN)

    def calibration(self) -> dict[str, Any]:
        """`input.<name>` (N, …) float32: training samples, to set integer ranges."""
        return self.arrays(CALIBRATION)

    def probes(self) -> dict[str, Any]:
        """`file.<i>` (bytes,) uint8: K image files, the first an asymmetric drawing; `input.<name>` (K, …) float32 as
        training prepares them; `output.<name>` and `oracle.<name>` as in golden. Empty: a checkpoint from before they
        were kept."""
        return {name: value for name, value in self._probes().items() if not name.startswith(PATTERN)}

    def patterns(self) -> dict[str, Any]:
        """`input.<name>` (5, …) float32, in the order of `PATTERNS`, each run by itself; `output.<name>` and
        `oracle.<name>` as in golden; `floor.<name>` (5,) float64: the noise floor of each, which is the greatest
        distance from the oracle that rounding alone leads to. Empty: a checkpoint from before they were kept."""
        return {name.removeprefix(PATTERN): value for name, value in self._probes().items() if name.startswith(PATTERN)}

    def _probes(self) -> dict[str, Any]:
        return self.arrays(PROBES) if PROBES in self.files else {}

    def example(self) -> "tuple[Tensor_, ...]":
        """Two calibration samples per input, in order, for a tracer to run: (2, …) float32.

        Two, for torch.export takes an axis of length one for a constant.
        """
        import torch

        calibration = self.calibration()
        return tuple(torch.from_numpy(calibration[f"input.{tensor.name}"][:2]) for tensor in self.inputs)

    def model(self) -> "nn.Module":
        """The model in float32, eval mode, on the CPU; takes the inputs in order, gives the outputs."""
        from safetensors.torch import load_file

        from pipeline import config, models

        model = models.build(config.read(self.folder / CONFIG), len(self.labels), weights=False)
        models.fill(model, load_file(self.folder / WEIGHTS))
        return model.eval()


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
    if record["format"] != FORMAT:
        raise BadInput(
            f"checkpoint {folder}: format {record['format']}, this version reads {FORMAT}. Train again: anywhere "
            "train --force."
        )
    return record


def tensor_from(item: Mapping[str, Any]) -> Tensor:
    """A Tensor from its JSON."""
    span = tuple(item["range"]) if item["range"] else None
    return Tensor(**{**item, "shape": tuple(item["shape"]), "range": span})


def tensors_to(tensors: tuple[Tensor, ...]) -> list[dict[str, Any]]:
    """Tensors as JSON takes them."""
    return [asdict(tensor) for tensor in tensors]


def seal(record: Mapping[str, Any]) -> dict[str, Any]:
    """The record with its own sha256: of its canonical JSON without that field."""
    body = {key: value for key, value in record.items() if key != "sha256"}
    canonical = json.dumps(body, sort_keys=True, separators=(",", ":"))
    return {**body, "sha256": hashlib.sha256(canonical.encode()).hexdigest()}


def is_sealed(record: Any) -> bool:
    """Whether a record read from disk is the one that was sealed."""
    return isinstance(record, dict) and record.get("sha256") == seal(record)["sha256"]


def fingerprints(samples: Any) -> list[str]:
    """A hash of each sample of (N, …), by its values alone: 16 hexadecimal digits."""
    return [hashlib.sha256(sample.tobytes()).hexdigest()[:16] for sample in samples]


def sha256_of_file(path: Path) -> str:
    """In hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _old(place: Path) -> Path:
    return place.with_name(f".{place.name}.old")


@contextmanager
def new_folder(place: Path) -> Iterator[Path]:
    """A folder to write in; renamed to `place` at the end, removed on an error. What was there before stays until then.

    Two renames, for no system call of Python's swaps folders: a kill between them leaves the old one aside, and
    `recover_folder` puts it back.
    """
    new = place.with_name(f".{place.name}.new")
    with room_for(place):
        place.parent.mkdir(parents=True, exist_ok=True)
        recover_folder(place)
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir()
        try:
            yield new
            for path in new.rglob("*"):
                if path.is_file():
                    _sync(path)
            if place.exists():
                place.rename(_old(place))
            new.rename(place)
        except BaseException:
            shutil.rmtree(new, ignore_errors=True)
            recover_folder(place)
            raise
    _remove(_old(place))


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def recover_folder(place: Path) -> None:
    """Undo a replacement that a kill cut in two."""
    if _old(place).exists():
        if place.exists():
            _remove(_old(place))
        else:
            _old(place).rename(place)


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def run_folder(name: str, runs: Path = Path("runs")) -> Path:
    """The folder of the run of that name. Raises BadInput for a name that is more than a name."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", name):
        raise BadInput(
            f"run {name!r}: not a name of a folder in {runs}/. Allowed are up to 100 letters, digits, '.', '_' "
            "and '-', "
            "a letter or digit first. Choose another --run."
        )
    return runs / name


@contextmanager
def exclusive(run: Path) -> Iterator[None]:
    """Keep other processes from writing into the run's folder meanwhile. Raises BadInput where one already does."""
    with room_for(run):
        run.mkdir(parents=True, exist_ok=True)
        file = (run / ".lock").open("w")
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise BadInput(
                f"run {run.name}: another process is writing to {run}. Wait for it, or choose another --run."
            ) from error
        try:
            yield
        finally:
            if [path.name for path in run.iterdir()] == [".lock"]:  # nothing came of it
                shutil.rmtree(run)


def latest_run(runs: Path = Path("runs")) -> str:
    """The name of the run whose checkpoint was written last. Raises BadInput where there is none."""
    records = list(runs.glob(f"*/checkpoint/{RECORD}"))
    if not records:
        raise BadInput(f"{runs.absolute()}: no run with a checkpoint. Train first: anywhere train.")
    return max(records, key=lambda path: path.stat().st_mtime).parents[1].name
