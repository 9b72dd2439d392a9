"""A checkpoint carries its own proof, and one that was damaged is not believed."""

import errno
import json
import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline import checkpoint
from pipeline.checkpoint import Checkpoint
from records.errors import BadInput, NoRoom, room_for
from records.folder import exclusive, latest_run, new_folder, run_folder
from records.sealed import seal
from tests.modules import built

NAMES = [
    "program.pt2",
    "weights.safetensors",
    "golden.safetensors",
    "probes.safetensors",
    "config.toml",
    "checkpoint.json",
]


@pytest.fixture
def opened(workplace: Path) -> Checkpoint:
    return Checkpoint.open(workplace / "runs" / "tiny" / "checkpoint")


def test_golden_is_what_the_model_gives_and_the_oracle_what_it_gives_in_double(opened: Checkpoint) -> None:
    golden, model = opened.golden(), opened.model()
    image = torch.from_numpy(golden.inputs["image"])
    with torch.no_grad():
        assert np.allclose(model(image).numpy(), golden.outputs["logits"], rtol=0, atol=1e-5)
        assert np.allclose(model.double()(image.double()).numpy(), golden.oracle["logits"], rtol=0, atol=1e-12)
    assert golden.oracle["logits"].dtype == np.float64
    assert 0 < np.abs(golden.outputs["logits"] - golden.oracle["logits"]).max() < 1e-4
    assert golden.inputs["image"].shape == (64, 3, 28, 28)
    assert golden.truth["labels"].shape == (64,)


def test_calibration_was_trained_on_and_golden_was_not(opened: Checkpoint) -> None:
    calibration, golden = opened.calibration()["image"], opened.golden().inputs["image"]
    assert calibration.shape == (32, 3, 28, 28)
    assert not {one.tobytes() for one in calibration} & {one.tobytes() for one in golden}


def test_interface_is_named(opened: Checkpoint) -> None:
    (image,), (logits,) = opened.inputs, opened.outputs
    assert (image.name, image.dtype, image.shape, image.layout) == ("image", "float32", ("batch", 3, 28, 28), "NCHW")
    assert (image.range, image.channels) == ((0.0, 1.0), "RGB")
    assert (logits.name, logits.shape) == ("logits", ("batch", 10))


def test_no_pickle_anywhere(opened: Checkpoint) -> None:
    assert {path.suffix for path in opened.folder.iterdir()} == {".safetensors", ".toml", ".json", ".pt2"}


def test_environment_says_what_made_it(opened: Checkpoint) -> None:
    assert opened.environment["versions"]["torch"] == torch.__version__.partition("+")[0]
    assert opened.environment["seed"] == 0
    assert "git_commit" in opened.environment
    assert opened.metrics["test_accuracy"] > 0.5


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("damage", ["truncated", "altered", "missing"])
def test_a_damaged_checkpoint_is_refused(opened: Checkpoint, name: str, damage: str) -> None:
    path = opened.folder / name
    content = bytearray(path.read_bytes())
    if damage == "missing":
        path.unlink()
    elif damage == "truncated":
        path.write_bytes(content[: len(content) // 2])
    else:
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
    with pytest.raises(BadInput, match=r"there is none|is missing|truncated or altered|was altered"):
        Checkpoint.open(opened.folder)


def test_an_edited_record_is_refused(opened: Checkpoint) -> None:
    path = opened.folder / checkpoint.RECORD
    record = json.loads(path.read_text())
    record["labels"][0] = "one"
    path.write_text(json.dumps(record))
    with pytest.raises(BadInput, match="was altered"):
        Checkpoint.open(opened.folder)


def test_reading_a_checkpoint_needs_no_torch(opened: Checkpoint) -> None:
    code = (
        "import sys; from pathlib import Path; from pipeline.checkpoint import Checkpoint;"
        f"c = Checkpoint.open(Path({str(opened.folder)!r})); c.golden(); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("name", ["../elsewhere", "a/b", "", ".hidden", "/tmp/x", "a" * 101, "a\nb"])
def test_a_run_name_cannot_leave_runs(name: str) -> None:
    with pytest.raises(BadInput, match="Choose another --run"):
        run_folder(name)


def test_the_latest_run_is_the_one_trained_last(workplace: Path) -> None:
    shutil.copytree(workplace / "runs" / "tiny", workplace / "runs" / "other")
    os.utime(workplace / "runs" / "other" / "checkpoint" / checkpoint.RECORD, (1, 1))
    assert latest_run() == "tiny"
    with pytest.raises(BadInput, match="Train first"):
        latest_run(workplace / "nowhere")


def break_off(place: Path) -> None:
    with new_folder(place) as new:
        (new / "a").write_text("second")
        raise RuntimeError("in the midst")


def test_a_folder_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    place = tmp_path / "place"
    with new_folder(place) as new:
        (new / "a").write_text("first")
    with pytest.raises(RuntimeError, match="in the midst"):
        break_off(place)
    assert (place / "a").read_text() == "first"
    with new_folder(place) as new:
        (new / "b").write_text("third")
    assert [path.name for path in tmp_path.iterdir()] == ["place"]
    assert [path.name for path in place.iterdir()] == ["b"]


def test_a_replacement_cut_in_two_is_undone(opened: Checkpoint) -> None:
    opened.folder.rename(opened.folder.with_name(".checkpoint.old"))
    assert Checkpoint.open(opened.folder).sha256 == opened.sha256


def test_without_room_the_old_folder_stays(tmp_path: Path) -> None:
    """A file size limit stands in for a full disk: the same call fails, with EFBIG for ENOSPC."""
    place = tmp_path / "place"
    with new_folder(place) as new:
        (new / "a").write_text("first")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        with pytest.raises(NoRoom, match="no room left on the disk"), new_folder(place) as new:
            (new / "a").write_bytes(bytes(2000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert (place / "a").read_text() == "first"
    assert [path.name for path in tmp_path.iterdir()] == ["place"]


@pytest.mark.parametrize("kind", [errno.EROFS, errno.EACCES])
def test_a_place_that_may_not_be_written_to_is_one_sentence(kind: int) -> None:
    with (
        pytest.raises(BadInput, match=r"runs/mine: cannot be written to .* Make it writable"),
        room_for(Path("runs/mine")),
    ):
        raise OSError(kind, os.strerror(kind))


def test_a_run_is_written_by_one_process_at_a_time(tmp_path: Path) -> None:
    with exclusive(tmp_path / "run"), pytest.raises(BadInput, match="another process"), exclusive(tmp_path / "run"):
        pass
    with exclusive(tmp_path / "run"):
        pass


def test_a_full_disk_elsewhere_is_named_by_its_file(tmp_path: Path) -> None:
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/scratch/anywhere-x")
    with pytest.raises(NoRoom, match=r"^/scratch/anywhere-x: no room left"), room_for(tmp_path / "run"):
        raise full
    full.filename = str(tmp_path / ".run.new" / "weights")
    with pytest.raises(NoRoom, match=f"^{tmp_path}/run: no room left"), room_for(tmp_path / "run"):
        raise full


def test_what_a_killed_command_left_half_written_is_removed_by_the_next(tmp_path: Path) -> None:
    run = tmp_path / "run"
    left = [run / ".checkpoint.new", run / "artifacts" / "onnx" / ".int8.new", run / "report" / ".new"]
    kept = [run / "artifacts" / "onnx" / "int8", run / "logs"]
    for folder in (*left, *kept):
        folder.mkdir(parents=True)
    with exclusive(run):
        assert [folder for folder in left if folder.exists()] == []
    assert all(folder.is_dir() for folder in kept)


@pytest.mark.parametrize("number", [1, 2, 4])
def test_a_checkpoint_of_another_format_is_refused(opened: Checkpoint, number: int) -> None:
    record = json.loads((opened.folder / checkpoint.RECORD).read_text())
    record["format"] = number
    (opened.folder / checkpoint.RECORD).write_text(json.dumps(seal(record)))
    with pytest.raises(
        BadInput, match=rf"format {number}, this version reads 3, .*Train again: anywhere train --force"
    ):
        Checkpoint.open(opened.folder)


def test_the_program_is_the_module_to_the_last_bit(opened: Checkpoint) -> None:
    image = torch.from_numpy(opened.golden().inputs["image"][:7])
    with torch.no_grad():
        assert torch.equal(opened.model()(image), built(opened)(image))


def test_a_model_is_taken_out_without_importing_what_made_it(opened: Checkpoint) -> None:
    """Nobody's module has to be there, and the settled configuration is not looked at."""
    code = (
        "import sys; from pathlib import Path; from pipeline.checkpoint import Checkpoint;"
        f"Checkpoint.open(Path({str(opened.folder)!r})).model();"
        "assert not {'pipeline.models', 'torchvision', 'timm'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
