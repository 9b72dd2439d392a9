"""What is judged is what is hashed: nothing that lies elsewhere, nothing that nobody named, nothing twice."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from safetensors.numpy import load_file, save_file

from export.artifact import Artifact, sha256_of_file
from export.interfaces import foreign, read
from export.run import Run
from records.errors import BadInput
from records.folder import exclusive
from records.sealed import seal
from tests.conftest import Said
from validate.judge import admission

ONNX = Path("runs/tiny/artifacts/onnx/float32")
CHECKPOINT = Path("runs/tiny/checkpoint")


def resealed(file: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Alter a record as somebody would who knows how a seal is made."""
    record = json.loads(file.read_text())
    change(record)
    file.write_text(json.dumps(seal(record)))


def elsewhere(place: Path) -> None:
    shutil.copy(place / "model.onnx", "other.onnx")
    resealed(place / "manifest.json", lambda record: record.update(entry="../../../../../other.onnx"))


def named_elsewhere(place: Path) -> None:
    elsewhere(place)
    name = "../../../../../other.onnx"
    resealed(place / "manifest.json", lambda record: record["files"].update({name: sha256_of_file(place / name)}))


def a_link(place: Path) -> None:
    shutil.move(place / "model.onnx", "other.onnx")
    (place / "model.onnx").symlink_to(Path("other.onnx").absolute())


def a_folder_that_is_a_link(place: Path) -> None:
    (place / "more").symlink_to(Path.cwd())


def a_pipe(place: Path) -> None:
    os.mkfifo(place / "pipe")


def a_second_manifest(place: Path) -> None:
    (place / "variables").mkdir()
    (place / "variables" / "manifest.json").write_text("{}")


ATTACKS: dict[Callable[[Path], None], str] = {
    elsewhere: r"to load, \.\./.*other.onnx, is none of its files",
    named_elsewhere: r"\.\./.*other.onnx is missing",
    a_link: "model.onnx is a link",
    a_folder_that_is_a_link: "more is a link",
    a_pipe: "pipe is no file",
    a_second_manifest: "variables/manifest.json is not in its manifest",
}


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.__name__)
def test_a_file_that_nobody_hashed_is_refused_by_name(at_home: Path, attack: Callable[[Path], None]) -> None:
    attack(ONNX)
    with pytest.raises(BadInput, match=ATTACKS[attack]):
        Artifact.open(ONNX)


def test_weights_that_lie_elsewhere_are_refused(at_home: Path) -> None:
    model = onnx.load(ONNX / "model.onnx")
    onnx.save(model, "other.onnx", save_as_external_data=True, location="weights", size_threshold=0)
    moved = onnx.load("other.onnx", load_external_data=False)
    for tensor in moved.graph.initializer:
        for entry in tensor.external_data:
            entry.value = "../weights" if entry.key == "location" else entry.value
    onnx.save(moved, ONNX / "model.onnx")
    change = {"model.onnx": sha256_of_file(ONNX / "model.onnx")}
    resealed(ONNX / "manifest.json", lambda record: record.update(files=change))
    run = Run.open("tiny")
    artifact = run.artifact("onnx/float32")
    with pytest.raises(BadInput, match=r"model.onnx names \.\./weights, which is none of its files"):
        admission.check_provenance(run, artifact, read(artifact))


def named_elsewhere_in(place: Path) -> list[str]:
    artifact = Artifact.open(place)
    return foreign(artifact, read(artifact))


def test_weights_of_a_web_model_that_lie_elsewhere_are_seen(released: Path) -> None:
    place = Path("runs/tiny/artifacts/tfjs/float32")
    assert named_elsewhere_in(place) == []
    model = json.loads((place / "model.json").read_text())
    model["weightsManifest"][0]["paths"] = ["../../other.bin"]
    (place / "model.json").write_text(json.dumps(model))
    resealed(
        place / "manifest.json",
        lambda record: record["files"].update({"model.json": sha256_of_file(place / "model.json")}),
    )
    assert named_elsewhere_in(place) == ["../../other.bin"]


def test_a_file_that_cannot_be_read_is_left_to_its_runtime(at_home: Path) -> None:
    (ONNX / "model.onnx").write_bytes((ONNX / "model.onnx").read_bytes()[:-100])
    change = {"model.onnx": sha256_of_file(ONNX / "model.onnx")}
    resealed(ONNX / "manifest.json", lambda record: record.update(files=change))
    assert read(Artifact.open(ONNX)).problem


CHANGES: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "no inputs": (lambda record: record.pop("inputs"), "inputs"),
    "inputs of another kind": (lambda record: record.update(inputs=7), "inputs"),
    "an input without a name": (lambda record: record["inputs"][0].pop("name"), "inputs.0.name"),
    "an axis that is null": (lambda record: record["inputs"][0].update(shape=["batch", None]), "inputs.0.shape"),
    "labels that are numbers": (lambda record: record.update(labels=[1, 2]), "labels.0"),
    "files as a list": (lambda record: record.update(files=["model.onnx"]), "files"),
    "no format": (lambda record: record.pop("format"), "format None"),
}


@pytest.mark.parametrize("kind", CHANGES)
@pytest.mark.parametrize("file", [ONNX / "manifest.json", CHECKPOINT / "checkpoint.json"], ids=lambda file: file.stem)
def test_a_record_with_a_seal_and_without_its_fields_is_one_sentence(at_home: Path, file: Path, kind: str) -> None:
    change, named = CHANGES[kind]
    resealed(file, change)
    with pytest.raises(BadInput, match=named) as refused:
        Artifact.open(ONNX) if "artifacts" in file.parts else Run.open("tiny")
    assert str(refused.value).count("\n") == 0


DETAILS: dict[str, Any] = {
    "calibration_samples": "many",
    "calibration_sha256": [1],
    "calibration_halves_sqnr_db": "45",
    "keep_float": "fc1",
    "keep_16": "fc1",
    "repair": {"curve": [1]},
    "lint": [],
    "layers": {"logits": {"module": {}}},
    "unquantized": None,
    "min_runtime_version": 2,
    "way": ["importer"],
    "modules": {"Conv": 1},
    "shapes": {"image": "1x3"},
}
"""Detail → a value of another type than what reads it expects."""


@pytest.mark.parametrize("name", DETAILS)
def test_a_detail_of_another_type_is_one_sentence(at_home: Path, name: str) -> None:
    resealed(ONNX / "manifest.json", lambda record: record["details"].update({name: DETAILS[name]}))
    with pytest.raises(BadInput, match=rf"manifest.json details is malformed: {name}.* Convert it again") as refused:
        Artifact.open(ONNX)
    assert str(refused.value).count("\n") == 0


@pytest.mark.parametrize("shape", [[0, 3, 28, 28], [-1, 3, 28, 28], [2**62, 3, 28, 28], []])
def test_a_batch_that_none_can_have_is_refused_at_once(at_home: Path, shape: list[int]) -> None:
    resealed(ONNX / "manifest.json", lambda record: record["inputs"][0].update(shape=shape))
    with pytest.raises(BadInput, match="no tensor: 'image' has the shape"):
        Artifact.open(ONNX)


WITHIN: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "progress without an epoch": (lambda record: record["progress"].pop("epoch"), "progress.epoch"),
    "progress that is a word": (lambda record: record["progress"].update(finished="yes"), "progress.finished"),
    "a refusal without a remedy": (
        lambda record: record["refusals"].update(program={"reason": ""}),
        "refusals.program",
    ),
    "loaded without a file": (lambda record: record.update(loaded={"trusted": True}), "loaded.file"),
    "no golden among its files": (lambda record: record["files"].pop("golden.safetensors"), "files: "),
    "a batch of none": (lambda record: record["inputs"][0].update(shape=[0, 3, 28, 28]), "has the shape"),
}


@pytest.mark.parametrize("kind", WITHIN)
def test_what_lies_within_a_checkpoint_s_fields_is_examined_too(at_home: Path, kind: str) -> None:
    change, named = WITHIN[kind]
    resealed(CHECKPOINT / "checkpoint.json", change)
    with pytest.raises(BadInput, match=rf"checkpoint.json is malformed: .*{named}"):
        Run.open("tiny")


GOLDEN: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "no oracle": (lambda arrays: arrays.pop("oracle.logits"), "oracle has no logits"),
    "no input": (lambda arrays: arrays.pop("input.image"), "input has no image"),
    "a row less": (lambda arrays: arrays.update({"output.logits": arrays["output.logits"][1:]}), "63 samples of 64"),
    "another type": (lambda arrays: arrays.update({"input.image": arrays["input.image"].astype("int8")}), "is int8"),
    "fewer labels": (lambda arrays: arrays.update(labels=arrays["labels"][1:]), r"labels has the shape \(63,\)"),
    "an axis less": (lambda arrays: arrays.update({"oracle.logits": arrays["oracle.logits"][:, 0]}), "oracle logits"),
}


@pytest.mark.parametrize("kind", GOLDEN)
def test_golden_that_is_not_as_described_is_one_sentence(at_home: Path, kind: str) -> None:
    change, said = GOLDEN[kind]
    arrays = load_file(CHECKPOINT / "golden.safetensors")
    change(arrays)
    checkpoint = Run.open("tiny").checkpoint
    save_file(arrays, CHECKPOINT / "golden.safetensors")
    with pytest.raises(BadInput, match=rf"golden.safetensors: .*{said}.* Restore it from a copy") as refused:
        checkpoint.golden()
    assert str(refused.value).count("\n") == 0


@pytest.mark.parametrize("name", ["calibration", "probes"])
def test_broken_arrays_are_one_sentence(at_home: Path, name: str) -> None:
    checkpoint, file = Run.open("tiny").checkpoint, CHECKPOINT / f"{name}.safetensors"
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(BadInput, match=rf"{name}.safetensors was truncated or is no safetensors \(.*\)\. Restore"):
        checkpoint.calibration() if name == "calibration" else checkpoint.probes()


@pytest.mark.parametrize(
    ("name", "content"), [("expected.json", '{"onnx": 1}'), ("keep_float.json", "[1]"), ("keep_16.json", "[1]")]
)
def test_a_list_of_conversions_that_is_none_is_one_sentence(at_home: Path, name: str, content: str) -> None:
    (Path("runs/tiny/artifacts") / name).write_text(content)
    run = Run.open("tiny")
    with pytest.raises(BadInput, match=rf"{name} is malformed: .* Remove it and run: anywhere export tiny"):
        run.expected() if name == "expected.json" else run.kept("onnx/float32", name.removesuffix(".json"))


@pytest.mark.parametrize("file", [ONNX / "manifest.json", CHECKPOINT / "checkpoint.json"], ids=["manifest", "record"])
@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"resize": [100000, 100000]}, "resize 100000×100000: a height and a width of 1 to 8192 pixels are allowed"),
        ({"resize": "28"}, "resize '28': a height and a width of 1 to 8192 pixels are allowed"),
        ({"crop": [29, 28]}, "crop 29×28 is larger than resize 28×28, which it is cut from"),
        ({"resize": [56, 28]}, "it gives 56×28 pixels, and the input takes 28×28"),
    ],
)
def test_a_preparation_of_sizes_that_cannot_be_is_one_sentence(
    at_home: Path, command: Callable[..., Said], file: Path, changes: dict[str, Any], reason: str
) -> None:
    """A manifest's may be none but its checkpoint's, whatever it gives."""
    resealed(file, lambda record: record["inputs"][0]["preparation"].update(changes))
    expected = f"{file.name}: preparation of image: {reason}. "
    if file.name == "manifest.json" and reason.startswith("it gives"):
        expected = "manifest has other preparation than"
    with pytest.raises(BadInput) as told:
        Run.open("tiny").artifact("onnx/float32")
    assert expected in str(told.value)
    said = command("validate", "tiny", "--only", "onnx/float32*")
    assert (said.status, said.err.count("\n")) == (2, 1)
    assert expected in said.err


def test_one_sample_many_times_is_not_many(at_home: Path) -> None:
    run = Run.open("tiny")
    golden = load_file(CHECKPOINT / "golden.safetensors")
    copied = {name: np.concatenate([value[:8]] * (len(value) // 8)) for name, value in golden.items()}
    save_file(copied, CHECKPOINT / "golden.safetensors")
    with pytest.raises(BadInput, match="8 different samples of 64; parity needs 16"):
        admission.check(run, run.checkpoint.golden())


def test_two_validations_of_a_run_do_not_meet(at_home: Path, command: Callable[..., Said]) -> None:
    with exclusive(Path("runs/tiny")):
        said = command("validate", "tiny")
    assert said.status == 2
    assert "another process is writing to runs/tiny" in said.err
