"""Samples of your own are read, or one sentence says why not; golden and calibration share none."""

import dataclasses
import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.numpy import save_file

from pipeline.adopt import Wanted, adopt
from pipeline.data import Preparation
from pipeline.samples import arrays, batch, divide, of_calls, pictures, read_arrays
from records.errors import BadInput

PREPARED = Preparation((16, 16), None)
TAKES = ["image", "age"]


def drawn(place: Path, number: int, size: tuple[int, int] = (20, 24)) -> Path:
    """A picture that is like no other."""
    place.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(number).integers(0, 255, (*size, 3), np.uint8)
    Image.fromarray(pixels).save(place)
    return place


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    """Thirty pictures of each of two classes."""
    for number in range(60):
        drawn(tmp_path / "photos" / ("cat" if number % 2 else "dog") / f"{number}.png", number)
    return tmp_path / "photos"


def test_a_folder_for_each_class_says_what_is_right(folders: Path) -> None:
    given = pictures(folders, PREPARED, ())
    assert (given.count, given.labels) == (60, ("cat", "dog"))
    chosen = batch(given, [0, 59])
    assert chosen.inputs["image"].shape == (2, 3, 16, 16)
    assert chosen.truth["labels"].tolist() == [0, 1]


def test_labels_have_the_models_order(folders: Path) -> None:
    given = pictures(folders, PREPARED, ("fox", "dog", "cat"))
    assert given.labels == ("fox", "dog", "cat")
    assert set(given.classes) == {1, 2}
    with pytest.raises(BadInput, match="class 'cat' is not among the model's 2 labels"):
        pictures(folders, PREPARED, ("fox", "dog"))


def test_pictures_in_one_folder_have_no_truth(tmp_path: Path) -> None:
    for number in range(3):
        drawn(tmp_path / f"{number}.jpg", number)
    given = pictures(tmp_path, PREPARED, ())
    assert (given.count, given.labels) == (3, ())
    assert batch(given, [0, 1]).truth == {}


@pytest.mark.parametrize("heading", ["", "path,label\n"])
def test_a_csv_names_files_and_classes(tmp_path: Path, heading: str) -> None:
    for number in range(4):
        drawn(tmp_path / "a" / f"{number}.png", number)
    lines = "".join(f"a/{number}.png,{'xy'[number % 2]}\n" for number in range(4))
    (tmp_path / "list.csv").write_text(heading + lines)
    given = pictures(tmp_path / "list.csv", PREPARED, ())
    assert (given.count, given.labels, given.classes) == (4, ("x", "y"), (0, 1, 0, 1))


def test_a_csv_that_names_what_is_not_there_says_so(tmp_path: Path) -> None:
    drawn(tmp_path / "0.png", 0)
    (tmp_path / "list.csv").write_text("0.png\n1.png\n")
    with pytest.raises(BadInput, match=r"1 of its 2 files are not there, the first .*1\.png"):
        pictures(tmp_path / "list.csv", PREPARED, ())


def test_a_picture_that_cannot_be_decoded_is_named_and_others_are_counted(folders: Path) -> None:
    (folders / "cat" / "0.png").write_bytes(b"no picture")
    (folders / "dog" / "99.png").write_bytes((folders / "dog" / "0.png").read_bytes()[:200])
    given = pictures(folders, PREPARED, ())
    told = r"images .*photos: 2 of 62 images cannot be read: .*0\.png \(not an image\), .*99\.png .* --skip-corrupt\.$"
    with pytest.raises(BadInput, match=told):
        given.inputs(0)


def test_pictures_that_cannot_be_decoded_are_left_out_and_counted_on_request(tmp_path: Path) -> None:
    for number in range(60):
        drawn(tmp_path / ("val" if number < 20 else "train") / "cat" / f"{number}.png", number)
    for split in ("val", "train"):
        (tmp_path / split / "cat" / "0broken.png").write_bytes(b"no picture")
    given = pictures(tmp_path, PREPARED, (), skip_corrupt=True)
    assert given.count == 60
    assert [given.files[number].parts[-3] for number in given.held_out or ()] == ["val"] * 20
    (told,) = given.findings
    assert told.startswith("2 of 62 images cannot be read: ")
    assert told.endswith("they are left out")
    assert pictures(tmp_path / "train" / "cat", PREPARED, (), skip_corrupt=True).count == 40


def test_where_no_picture_can_be_decoded_nothing_is_left(tmp_path: Path) -> None:
    (tmp_path / "0.png").write_bytes(b"no picture")
    with pytest.raises(BadInput, match="no picture in it"):
        pictures(tmp_path, PREPARED, (), skip_corrupt=True)


def test_an_adoption_says_what_it_left_out(folders: Path, tmp_path: Path) -> None:
    (folders / "cat" / "0.png").write_bytes(b"no picture")
    wanted = Wanted(images=folders, size=(16, 16), task="regression")
    with pytest.raises(BadInput, match="1 of 61 images cannot be read"):
        adopt(torch.nn.Flatten(), wanted, tmp_path / "run", "flat", print)
    told: list[str] = []
    checkpoint = adopt(
        torch.nn.Flatten(), dataclasses.replace(wanted, skip_corrupt=True), tmp_path / "run", "flat", told.append
    )
    assert [sentence for sentence in told if "1 of 61 images cannot be read" in sentence]
    assert set(told) <= set(checkpoint.findings)


@pytest.mark.parametrize("place", ["nowhere", "empty"])
def test_a_place_without_pictures_is_one_sentence(tmp_path: Path, place: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadInput, match=r"no such folder, CSV or JSON|no picture in it"):
        pictures(tmp_path / place, PREPARED, ())


def test_golden_and_calibration_share_no_content(folders: Path) -> None:
    for number in range(20):  # the same pictures under other names
        drawn(folders / "cat" / f"copy{number}.png", number)
    given = pictures(folders, PREPARED, ())
    golden, calibration = divide(given, 256, 128)
    marks = [[given.inputs(number)["image"].numpy().tobytes() for number in side] for side in (golden, calibration)]
    assert len({*marks[0], *marks[1]}) == len(marks[0]) + len(marks[1]) == 60
    assert divide(given, 256, 128) == (golden, calibration)


@pytest.mark.parametrize(
    ("count", "golden", "calibration"), [(48, 16, 32), (60, 28, 32), (90, 58, 32), (300, 200, 100)]
)
def test_integers_get_enough_where_there_is_enough(count: int, golden: int, calibration: int) -> None:
    given = arrays({"image": np.random.rand(count, 3).astype(np.float32)}, "x", ["image"], ["image"], ())
    chosen, ranges = divide(given, 256, 128)
    assert (len(chosen), len(ranges)) == (golden, calibration)


def test_golden_is_never_what_sets_ranges() -> None:
    """Of sixteen samples none is left for integers, and no artifact could be judged on what set its ranges."""
    given = arrays({"image": np.random.rand(16, 3)}, "x", ["image"], ["image"], ())
    with pytest.raises(BadInput, match=r"16 different samples for golden; parity needs 16, and integers 32 others"):
        divide(given, 256, 128)


def test_too_few_are_refused_with_numbers() -> None:
    given = arrays({"image": np.random.rand(15, 3)}, "x", ["image"], ["image"], ())
    with pytest.raises(BadInput, match=r"15 different samples for golden; parity needs 16, and integers 32 others.*48"):
        divide(given, 256, 128)


def test_what_lies_in_val_is_golden_and_what_lies_in_train_is_not(tmp_path: Path) -> None:
    for number in range(60):
        drawn(tmp_path / ("val" if number < 20 else "train") / "cat" / f"{number}.png", number)
    given = pictures(tmp_path, PREPARED, ())
    golden, calibration = divide(given, 256, 128)
    assert {given.files[number].parts[-3] for number in golden} == {"val"}
    assert {given.files[number].parts[-3] for number in calibration} == {"train"}
    assert (len(golden), len(calibration)) == (20, 40)


@pytest.mark.parametrize("suffix", ["npz", "safetensors"])
def test_arrays_are_inputs_by_name_in_forwards_order(tmp_path: Path, suffix: str) -> None:
    values = {
        "age": np.arange(20),
        "image": np.random.rand(20, 3, 4, 4).astype(np.float32),
        "labels": np.arange(20) % 3,
    }
    path = tmp_path / f"golden.{suffix}"
    np.savez(path, **values) if suffix == "npz" else save_file(values, path)
    given = arrays(read_arrays(path, TAKES), str(path), TAKES, TAKES, ("a", "b", "c"))
    assert given.names == ("image", "age")
    chosen = batch(given, [5])
    assert (chosen.inputs["age"].tolist(), chosen.inputs["age"].dtype) == ([5], torch.int64)
    assert chosen.truth["labels"].tolist() == [2]


def test_one_array_is_the_only_input(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.random.rand(20, 3))
    given = arrays(read_arrays(tmp_path / "x.npy", ["signal"]), "x.npy", ["signal"], ["signal"], ())
    assert given.names == ("signal",)
    assert given.inputs(0)["signal"].dtype == torch.float32


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"image": np.zeros((20, 3)), "size": np.zeros(20)}, "size is no input of forward, which takes image, age"),
        ({"image": np.zeros((20, 3))}, "no age, which forward needs"),
        ({"image": np.zeros((20, 3)), "age": np.zeros(19)}, r"other numbers of samples \(image 20, age 19\)"),
        ({"image": np.zeros((20, 3)), "age": np.array(3)}, "age is no array of numbers"),
        ({"image": np.zeros((20, 3)), "age": np.zeros(20), "labels": np.zeros(3)}, "3 labels for 20 samples"),
    ],
)
def test_arrays_that_are_no_inputs_are_refused(values: dict[str, np.ndarray], said: str) -> None:
    with pytest.raises(BadInput, match=said):
        arrays(values, "x", TAKES, TAKES, ())


def test_a_file_of_objects_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(BadInput, match=r"cannot be read .*without objects"):
        read_arrays(tmp_path / "x.npy", TAKES)


def test_calls_are_tuples_or_dicts_one_after_the_other() -> None:
    calls = [(torch.zeros(2, 3), torch.arange(2)), {"age": torch.arange(3), "image": torch.ones(3, 3)}]
    found = of_calls(calls, TAKES)
    assert found["image"].shape == (5, 3)
    assert found["age"].tolist() == [0, 1, 0, 1, 2]


@pytest.mark.parametrize(
    ("calls", "said"),
    [
        ([(torch.zeros(2, 3), torch.zeros(2), torch.zeros(2))], "call 1: 3 inputs, and forward takes 2"),
        ([(torch.zeros(2, 3),), {"age": torch.zeros(2)}], "call 2: has age, the first image"),
        ([(torch.zeros(2, 3),), (torch.zeros(2, 4),)], "different sizes"),
    ],
)
def test_calls_that_do_not_fit_are_refused(calls: list[object], said: str) -> None:
    with pytest.raises(BadInput, match=said):
        of_calls(calls, TAKES)


def test_an_interpolation_that_no_app_has_is_refused(folders: Path, tmp_path: Path) -> None:
    """What a library declares, such as nearest, included."""
    wanted = Wanted(images=folders, interpolation="nearest")
    with pytest.raises(BadInput, match="interpolation nearest: no app prepares pictures so, only bilinear and bicubic"):
        adopt(torch.nn.Flatten(), wanted, tmp_path / "run", "flat", print)


def test_an_adopted_checkpoint_has_files_as_phones_make_them(images: Path, tmp_path: Path) -> None:
    """Of gray scans, which every network takes as RGB."""
    wanted = Wanted(images=images, size=(16, 16), resize=(20, 20), task="regression")
    probes = adopt(torch.nn.Flatten(), wanted, tmp_path / "run", "flat", lambda _: None).probes()
    assert probes
    files = [Image.open(io.BytesIO(file.tobytes())) for file in probes.files["input"]]
    assert [file.format for file in files] == ["PNG"] * 5 + ["JPEG", "PNG", "PNG"]
    assert [file.mode for file in files[5:]] == ["RGB", "L", "RGBA"]
    assert probes.inputs["input"].shape == (8, 3, 16, 16)
    assert np.array_equal(probes.inputs["input"][7], probes.inputs["input"][0])
