"""The artifact: one converted file or folder of one target and precision, and its manifest.

    artifact = Artifact.open(Path("runs/digits/artifacts/onnx/int8"))
    artifact.path                                  # …/model.onnx

A manifest names the sha256 of its files, of its source and of its checkpoint, so a stale or damaged artifact is
recognised.
"""

import hashlib
import json
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from export.graphs.layers import Place, Twin, places, twins
from records.errors import BadInput, shortened
from records.folder import recover_folder
from records.preparation import check_preparations
from records.schema import check_schema, read_json
from records.sealed import is_sealed, seal, sha256_of_file
from records.tensor import Tensor, tensor_from, tensors_to

MANIFEST = "manifest.json"
FORMAT = 2
"""Since 2, a preparation belongs to its input."""


@dataclass(frozen=True)
class Integers:
    """How the integer ranges of an artifact were set."""

    calibration_samples: int
    calibration_sha256: Mapping[str, list[str]]
    """Input name → the fingerprints of its samples."""
    halves_sqnr_db: float | None
    """SQNR between the models of two halves of the calibration; None: not known."""
    keep_float: tuple[str, ...]
    """Layers that stay in float32."""
    keep_16: tuple[str, ...]
    """Layers whose activations have 16 bits."""
    repair: "Repair | None"
    """What `--auto` tried; None: it was not asked for."""


@dataclass(frozen=True)
class Attempt:
    """One model that a repair tried, measured on calibration samples that set no range."""

    ranges: str
    """The method that set them."""
    keep_16: int
    """Layers whose activations have 16 bits."""
    keep_float: int
    """Layers in float32."""
    sqnr_db: float | None
    """None: it could not be had, or a value is no number."""
    agreement: float
    size_bytes: int
    latency_ms: float | None


@dataclass(frozen=True)
class Repair:
    """What a repair tried, in order, and which of them ships."""

    layers: int
    """Of the model."""
    samples: int
    """That the last was measured on."""
    ships: int
    """Index in `curve`; 0: the model as it is."""
    meets: bool
    """Whether that meets the tolerance on these samples."""
    curve: list[Attempt]


@dataclass(frozen=True)
class Share:
    """What a delegate takes of a TFLite file."""

    takes: int
    parts: int | None


@dataclass(frozen=True)
class Examined:
    """A lint as other rooms read it: `export.graphs.tflite_lint.Lint` without what is for people."""

    runtime: str
    operators: int
    xnnpack: Share
    gpu: Share
    flex: list[Any]
    custom: list[Any]
    int64: list[Any]
    many_axes: list[Any]
    sentences: list[str]


@dataclass(frozen=True)
class Layer:
    """What is known of a tensor inside: a `Place` of ONNX's or a `Twin` of TensorFlow's."""

    module: str
    call: int | None = None
    tensor: str = ""
    stored: list[int] | None = None


@dataclass(frozen=True)
class Details:
    """The types of those details that are read again; all others are for people."""

    way: str = ""
    min_runtime_version: str | None = None
    unquantized: str = ""
    calibration_samples: int = 0
    calibration_sha256: Mapping[str, list[str]] = field(default_factory=dict)
    calibration_halves_sqnr_db: float | None = None
    built_sqnr_db: float | None = None
    keep_float: list[str] = field(default_factory=list)
    keep_16: list[str] = field(default_factory=list)
    float_operators: Mapping[str, int] = field(default_factory=dict)
    repair: Repair | None = None
    lint: Examined | None = None
    layers: Mapping[str, Layer] = field(default_factory=dict)
    modules: Mapping[str, str] = field(default_factory=dict)
    shapes: Mapping[str, list[int]] = field(default_factory=dict)


@dataclass(frozen=True)
class Artifact:
    """One artifact on disk, as its manifest describes it."""

    folder: Path
    sha256: str
    """Hash of the manifest, which holds the hash of every file."""
    target: str
    precision: str
    entry: str
    """The file or folder a runtime loads, relative to `folder`."""
    source: str
    """"checkpoint" or `<target>/<precision>`."""
    source_sha256: str
    checkpoint_sha256: str
    recipe: str
    """sha256 of what made it: the target's code and the toolchain's content."""
    toolchain: str
    task: str
    labels: tuple[str, ...]
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    normalisation: Mapping[str, Any]
    findings: tuple[str, ...]
    """Sentences of the conversion that a user should read."""
    details: Mapping[str, Any]
    """Facts for people. Other rooms read them through the properties below only."""
    seconds: float
    peak_memory: int
    """Bytes of the worker that made it."""
    files: Mapping[str, str]
    """Path relative to `folder` → sha256."""
    decoding: Mapping[str, float] = field(default_factory=dict)
    """What a detector's boxes are chosen by, as the checkpoint has it; empty: it chooses nothing."""

    @property
    def name(self) -> str:
        """Return its name, `onnx/int8`."""
        return f"{self.target}/{self.precision}"

    @property
    def path(self) -> Path:
        """Return the file or folder that a runtime loads."""
        return self.folder / self.entry

    @property
    def way(self) -> str:
        """Return how it was made, where a target has several ways: `importer`. Empty: it has one."""
        return str(self.details.get("way", ""))

    @property
    def min_runtime_version(self) -> str | None:
        """Return the oldest version of the runtime that can run it; None: not known."""
        version: str | None = self.details.get("min_runtime_version")
        return version

    @property
    def integers(self) -> Integers | None:
        """Return how its integer ranges were set; None: no range was calibrated."""
        details = self.details
        if "calibration_samples" not in details:
            return None
        repair = details.get("repair")
        return Integers(
            details["calibration_samples"],
            details.get("calibration_sha256", {}),
            details.get("calibration_halves_sqnr_db"),
            tuple(details.get("keep_float", [])),
            tuple(details.get("keep_16", [])),
            None if repair is None else Repair(**repair | {"curve": [Attempt(**step) for step in repair["curve"]]}),
        )

    @property
    def float_operators(self) -> Mapping[str, int] | None:
        """Return how many operators with weights were asked to stay in float32, by kind; None: nobody counted."""
        operators: Mapping[str, int] | None = self.details.get("float_operators")
        return operators if operators is not None or self.details.get("keep_float") else {}

    @property
    def built_sqnr_db(self) -> float | None:
        """Return the SQNR against float32 that the conversion to integers measured itself; None: it did not."""
        ratio: float | None = self.details.get("built_sqnr_db")
        return ratio

    @property
    def unquantized(self) -> str:
        """Return why nothing in it is an integer although its precision says so; empty: something is."""
        return str(self.details.get("unquantized", ""))

    @property
    def lint(self) -> Mapping[str, Any] | None:
        """Return what of a TFLite file runs on the fast path of a phone; None: it was not examined."""
        lint: Mapping[str, Any] | None = self.details.get("lint")
        return lint

    @property
    def places(self) -> dict[str, Place]:
        """Return, for an ONNX file, the PyTorch module of each of its tensors."""
        return places(self.details)

    @property
    def twins(self) -> dict[str, Twin]:
        """Return, for a SavedModel, the ONNX tensor that has the same values as each of its tensors."""
        return twins(self.details)

    @property
    def size_bytes(self) -> int:
        """Return the size of all its files but the manifest."""
        return sum((self.folder / name).stat().st_size for name in self.files)

    @classmethod
    def open(cls, folder: Path) -> "Artifact":
        """Read an artifact and verify it. Raises BadInput if it is missing or its manifest does not match its files."""
        recover_folder(folder)
        path = folder / MANIFEST
        if not path.is_file():
            raise BadInput(f"artifact {folder}: there is none. Convert it: anywhere export {_run_of(folder)}.")
        where = f"artifact {folder}: {MANIFEST}"
        record = read_json(path, where, remedy(folder))
        if not is_sealed(record):
            raise BadInput(f"{where} was altered (its sha256 is not the recorded one). {remedy(folder)}")
        if record.get("format") != FORMAT:
            raise BadInput(
                f"artifact {folder}: format {shortened(record.get('format'))}, this version reads {FORMAT}. "
                f"{remedy(folder)}"
            )
        check_schema(cls, {**record, "folder": str(folder)}, where, remedy(folder))
        check_schema(Details, record["details"], f"{where} details", remedy(folder))
        try:
            artifact = cls._from_record(folder, record)
        except ValueError as error:
            raise BadInput(f"{where} is malformed: {shortened(error)}. {remedy(folder)}") from error
        check_preparations(artifact.inputs, where, remedy(folder))
        artifact._verify()
        return artifact

    def _verify(self) -> None:
        """Check that what a runtime may read is hashed, and is as hashed. Raises BadInput."""
        there = _files_in(self.folder)
        for name, expected in self.files.items():
            if name not in there or sha256_of_file(self.folder / name) != expected:
                state = "does not match its manifest (truncated or altered)" if name in there else "is missing"
                raise BadInput(f"artifact {self.folder}: {name} {state}. {remedy(self.folder)}")
        extra = [name for name in there if name not in self.files]
        if extra:
            raise BadInput(
                f"artifact {self.folder}: {extra[0]} is not in its manifest. Remove it, or: anywhere export --force "
                f"{_run_of(self.folder)}."
            )
        if not any(name == self.entry or name.startswith(f"{self.entry}/") for name in self.files):
            raise BadInput(
                f"artifact {self.folder}: what a runtime is to load, {self.entry}, is none of its files. "
                f"{remedy(self.folder)}"
            )

    @classmethod
    def _from_record(cls, folder: Path, record: Mapping[str, Any]) -> "Artifact":
        values = {one.name: record[one.name] for one in fields(cls) if one.name not in {"folder", "decoding"}}
        return cls(
            folder=folder,
            **values
            | {
                "labels": tuple(values["labels"]),
                "findings": tuple(values["findings"]),
                "inputs": tuple(tensor_from(item) for item in values["inputs"]),
                "outputs": tuple(tensor_from(item) for item in values["outputs"]),
                "decoding": record.get("decoding", {}),
            },
        )

    @classmethod
    def seal(cls, new: Path, place: Path, record: Mapping[str, Any]) -> "Artifact":
        """Write the manifest of the finished folder `new`, which will be renamed to `place`.

        record: the fields of this class but folder, sha256 and files; tensors as `Tensor`s.
        """
        files = {name: sha256_of_file(new / name) for name in _files_in(new)}
        tensors = {key: tensors_to(record[key]) for key in ("inputs", "outputs")}
        signed = seal({"format": FORMAT, **record, **tensors, "files": files})
        (new / MANIFEST).write_text(json.dumps(signed, indent=1), encoding="utf-8")
        return cls._from_record(place, json.loads(json.dumps(signed)))


def _files_in(folder: Path) -> list[str]:
    """Return the files of an artifact but its manifest. Raises BadInput for a link, a pipe and what else is none."""
    names = []
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        kind = path.lstat().st_mode
        if not stat.S_ISREG(kind) and not stat.S_ISDIR(kind):
            what = "a link" if stat.S_ISLNK(kind) else "no file"
            raise BadInput(
                f"artifact {folder}: {name} is {what}, so nothing says what a runtime would read. Remove it."
            )
        if stat.S_ISREG(kind) and name != MANIFEST:
            names.append(name)
    return names


def _run_of(folder: Path) -> str:
    return folder.parents[2].name


def remedy(folder: Path) -> str:
    """Return the sentence that says how to make an artifact anew."""
    return f"Convert it again: anywhere export --force {_run_of(folder)}."


def recipe(code: Iterable[Path], toolchain_key: str, requests: Iterable[str] = ()) -> str:
    """Return a sha256 that changes when the code, the toolchain or the request does.

    requests: what was asked for besides, such as layers to keep and options.
    """
    content = b"".join(file.read_bytes() for file in code)
    return hashlib.sha256(content + toolchain_key.encode() + "\n".join(requests).encode()).hexdigest()
