"""A CSV and COCO's annotations give the samples that they name, or one sentence says why not."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pipeline import commands, data
from pipeline import config as configs
from pipeline.data import Preparation
from pipeline.samples import divide, pictures
from pipeline.train import settle
from records.errors import BadInput

SCANS = [f"digit{label}/{number}.png" for label in range(3) for number in range(20)]
"""The files of the fixture `images`."""


def loaded(dataset: str, place: Path, **values: object) -> data.Data:
    keys = {"data.dataset": dataset, "data.folder": str(place), "data.image_size": 16}
    return data.load(settle(configs.read(None, keys | {f"data.{key}": value for key, value in values.items()})))


@pytest.fixture
def listed(images: Path, tmp_path: Path) -> Path:
    """The three classes of twenty scans, in a folder that may be written into."""
    for name in SCANS:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes((images / name).read_bytes())
    return tmp_path


def written(folder: Path, rows: list[str], heading: str = "") -> Path:
    (folder / "list.csv").write_text("\n".join([heading, *rows] if heading else rows))
    return folder / "list.csv"


def rows_of(split: Callable[[int], str] | None = None) -> list[str]:
    """A line for each scan, its class being the folder's name."""
    lines = [f"{name},{name.partition('/')[0]}" for name in SCANS]
    return lines if split is None else [f"{line},{split(number)}" for number, line in enumerate(lines)]


def fifths(number: int) -> str:
    return "val" if number % 5 == 0 else "train"


def content(split: data.Split) -> set[tuple[bytes, int]]:
    """All that a split's numbers are chosen of."""
    return {(np.asarray(picture).tobytes(), truth) for picture, truth in split.raw}


@pytest.mark.parametrize("heading", ["", "path,label"])
def test_a_csv_gives_what_a_folder_of_the_same_gives(listed: Path, images: Path, heading: str) -> None:
    found, same = loaded("csv", written(listed, rows_of(), heading)), loaded("folder", images)
    assert found.labels == same.labels == ("digit0", "digit1", "digit2")
    assert (len(found.train), len(found.test)) == (48, 12)
    assert content(found.train) == content(same.train)


@pytest.mark.parametrize("heading", ["", "path,label,split"])
def test_a_third_column_splits(listed: Path, heading: str) -> None:
    found = loaded("csv", written(listed, rows_of(fifths), heading))
    assert (len(found.train), len(found.test)) == (48, 12)
    names = [found.test.raw.files[number].name for number in found.test.numbers]
    assert {int(name.partition(".")[0]) % 5 for name in names} == {0}


def test_a_third_column_of_another_name_is_not_read(listed: Path) -> None:
    found = loaded("csv", written(listed, rows_of(str), "path,label,width"))
    assert (len(found.train), len(found.test)) == (48, 12)


def test_a_split_beside_train_and_val_is_left_out_and_counted(listed: Path) -> None:
    splits = ("train", "train", "val", "TEST", "train")
    place = written(listed, rows_of(lambda number: splits[number % 5]))
    found = loaded("csv", place)
    assert (len(found.train), len(found.test)) == (36, 12)
    assert found.findings == ("12 files of the split test are left out",)
    given = pictures(place, Preparation((16, 16), None), ())
    assert (given.count, given.findings) == (48, found.findings)


def test_adoption_takes_golden_of_val_alone(listed: Path) -> None:
    given = pictures(
        written(listed, rows_of(lambda n: "val" if n % 3 == 0 else "train")), Preparation((16, 16), None), ()
    )
    golden, calibration = divide(given, 256, 128)
    assert {int(given.files[number].stem) for number in golden} <= {n % 20 for n in range(0, 60, 3)}
    assert (len(golden), len(calibration)) == (20, 40)


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (lambda: [*rows_of(), "digit0/99.png,digit0"], r"1 of its 61 files are not there, the first .*99\.png"),
        (lambda: ["digit0/99.png,digit0", *rows_of()], r"1 of its 61 files are not there, the first .*99\.png"),
        (lambda: SCANS, r"60 of its 60 files have no class, the first .*digit0/0\.png"),
        (lambda: rows_of()[:20], r"one class \(digit0\), at least two classes are needed"),
        (lambda: ["path,label"], "no image, at least two classes are needed"),
        (lambda: [*rows_of(), "digit0/../digit0/0.png,digit1"], r"0\.png is listed twice"),
        (lambda: rows_of(lambda n: "train" if n else "trian"), r"0\.png is in the split 'trian'. Write train or val"),
        (lambda: rows_of(lambda n: "train" if n else ""), r"0\.png is in the split ''"),
        (lambda: rows_of(lambda n: "train"), "all files are in the split train. Put some into train and some into val"),
        (lambda: rows_of(lambda n: "val" if n < 20 else "train"), "no training image of class digit0"),
    ],
)
def test_a_csv_that_cannot_be_used_is_one_sentence(listed: Path, rows: Callable[[], list[str]], said: str) -> None:
    with pytest.raises(BadInput, match=said):
        loaded("csv", written(listed, rows()))


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b'"a\x00,b'])
def test_a_csv_that_is_no_text_is_one_sentence(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "list.csv").write_bytes(content)
    with pytest.raises(BadInput, match=r"dataset csv .*list\.csv: "):
        loaded("csv", tmp_path / "list.csv")


@pytest.mark.parametrize("dataset", ["csv", "coco"])
def test_a_list_that_is_not_there_is_one_sentence(tmp_path: Path, dataset: str) -> None:
    with pytest.raises(BadInput, match=r"data\.folder .*none: no such (CSV|JSON)\. Give --folder"):
        loaded(dataset, tmp_path / "none")
    with pytest.raises(BadInput, match=r"data\.folder is empty: no such"):
        data.load(settle(configs.read(None, {"data.dataset": dataset})))


Change = Callable[[dict[str, Any]], Any]


def coco(folder: Path, change: Change = lambda content: None) -> Path:
    """COCO's annotations of the scans, one of which has two boxes; changed before they are written."""
    content: dict[str, Any] = {
        "info": {"year": 2024},
        "images": [{"id": number, "file_name": name, "width": 16} for number, name in enumerate(SCANS)],
        "annotations": [
            {"id": number, "image_id": number, "category_id": 7 - int(name[5]), "bbox": [0, 0, 1, 1]}
            for number, name in [*enumerate(SCANS), (0, SCANS[0])]
        ],
        "categories": [{"id": 0, "name": "two"}, *({"id": 5 + n, "name": ("two", "one", "zero")[n]} for n in range(3))],
    }
    change(content)
    (folder / "annotations.json").write_text(json.dumps(content))
    return folder / "annotations.json"


def test_coco_gives_the_categories_that_images_have_in_the_files_order(listed: Path) -> None:
    found = loaded("coco", coco(listed))
    assert found.labels == ("two", "one", "zero")
    assert (len(found.train), len(found.test)) == (48, 12)
    for number in found.train.numbers:
        assert found.train.raw[number][1] == 2 - int(SCANS[number][5])


def test_images_of_coco_may_lie_in_a_folder_of_their_own(listed: Path) -> None:
    (listed / "images").mkdir()
    for label in range(3):
        (listed / f"digit{label}").rename(listed / "images" / f"digit{label}")
    assert len(loaded("coco", coco(listed)).train) == 48


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            lambda c: c["annotations"].append({"image_id": 0, "category_id": 6}),
            r"digit0/0\.png has 2 categories \(one, zero\), and a class is one",
        ),
        (lambda c: c["annotations"].pop(5), r"digit0/5\.png has 0 categories \(none\)"),
        (lambda c: c["annotations"].append({"image_id": 99, "category_id": 6}), "is of image 99, which images lacks"),
        (lambda c: c["annotations"].append({"image_id": 0, "category_id": 9}), "of category 9, which categories lacks"),
        (lambda c: c["images"].append(c["images"][0]), "image id 0 is there twice"),
        (lambda c: c["categories"].append({"id": 5, "name": "x"}), "category id 5 is there twice"),
        (lambda c: c["categories"][2].update(name="two"), "category 'two' is there twice"),
        (lambda c: c["images"][3].update(file_name="x.png"), r"x\.png is neither .*/x\.png nor .*images/x\.png"),
        (lambda c: c["images"][3].update(file_name=SCANS[4]), r"4\.png is listed twice"),
        (lambda c: c.pop("annotations"), "annotations: Field required. Give a JSON with COCO's images"),
        (lambda c: c["images"][3].pop("file_name"), r"images\.3\.file_name: Field required"),
    ],
)
def test_annotations_that_cannot_be_used_are_one_sentence(listed: Path, change: Change, said: str) -> None:
    with pytest.raises(BadInput, match=said):
        loaded("coco", coco(listed, change))


def test_annotations_that_are_no_json_are_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "annotations.json").write_text("{")
    with pytest.raises(BadInput, match=r"the file: Invalid JSON: .* Give a JSON with COCO's images"):
        loaded("coco", tmp_path / "annotations.json")


@pytest.mark.parametrize("dataset", ["csv", "coco"])
def test_listed_files_that_cannot_be_decoded_are_left_out_on_request(listed: Path, dataset: str) -> None:
    place = written(listed, rows_of(fifths)) if dataset == "csv" else coco(listed)
    for name in SCANS[4:6]:
        (listed / name).write_text("no picture")
    with pytest.raises(BadInput, match=r"cannot be read: .*digit0/[45]\.png \(not an image\)"):
        loaded(dataset, place)
    found = loaded(dataset, place, skip_corrupt=True)
    assert len(found.train) + len(found.test) == 58
    (finding,) = found.findings
    assert "2 of 60 images cannot be read" in finding
    if dataset == "csv":
        for number in range(0, 60, 5):
            (listed / SCANS[number]).write_text("no picture")
        with pytest.raises(BadInput, match="no image of the split val can be read"):
            loaded(dataset, place, skip_corrupt=True)


def test_what_a_folder_option_names_decides_who_reads_it(
    listed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[tuple[str, str]] = []
    monkeypatch.setattr(
        commands, "_start", lambda config, place, force: started.append((config.data.dataset, place.name))
    )
    monkeypatch.chdir(tmp_path)
    for place in ("list.csv", "annotations.json", "photos"):
        commands.train(folder=place, model="simple_cnn")
    assert started == [
        ("csv", "list-simple_cnn"),
        ("coco", "annotations-simple_cnn"),
        ("folder", "photos-simple_cnn"),
    ]


def test_a_palette_and_gray_are_read_as_they_are_stored(listed: Path) -> None:
    with Image.open(listed / SCANS[0]) as picture:
        picture.convert("RGB").convert("P").save(listed / SCANS[0])
    found = loaded("csv", written(listed, rows_of(fifths)))
    modes = {found.test.picture(number).mode for number in range(len(found.test))}
    assert modes == {"P", "L"}
    assert found.test[0][0].shape == (3, 16, 16)
