"""An app finds labels, names and the pixels' scale in the .tflite; for an interpreter it is the same model.

The models in data/ give the mean colour of a picture; data/mean.py says how they were made. What is written is read by
MediaPipe, in a toolchain of the tests (130 MB, seconds to build).
"""

import io
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from export.graphs.tflite_metadata import ALIGNMENT, Description, ImageMetadata, TensorMetadata, with_metadata
from workers import registry
from workers.worker import Worker

DATA = Path(__file__).parents[2] / "data"
CLASSIFY = Path(__file__).parents[2] / "toolchains" / "mediapipe" / "classify.py"
LABELS = ["red", "green", "blue"]


def described(model: bytes, labels: list[str] = LABELS, inputs: int = 1) -> bytes:
    about = Description("mean", "the mean colour", "1")
    output = TensorMetadata("colour", labelled="axis")
    return with_metadata(model, about, [ImageMetadata("image", "a picture")] * inputs, [output], labels)


@pytest.fixture(params=["float32", "uint8"])
def model(request: pytest.FixtureRequest) -> Path:
    return DATA / f"mean-{request.param}.tflite"


def test_graph_and_weights_are_not_touched_and_stay_aligned(model: Path) -> None:
    before = model.read_bytes()
    found = described(before).index(before)
    assert found > 0
    assert found % ALIGNMENT == 0
    assert described(before) == described(before)


def test_labels_are_a_file_that_unzip_finds(model: Path) -> None:
    with zipfile.ZipFile(io.BytesIO(described(model.read_bytes()))) as archive:
        assert archive.namelist() == ["labels.txt"]
        assert archive.read("labels.txt").decode().split("\n") == [*LABELS, ""]
        assert archive.infolist()[0].compress_type == zipfile.ZIP_STORED
    assert not zipfile.is_zipfile(io.BytesIO(described(model.read_bytes(), labels=[])))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"labels": ["red", "green"]}, r"2 labels for an output of shape \[1, 3\]"),
        ({"labels": ["red", "green\n", "blue"]}, "more than one line"),
        ({"labels": ["red", "", "blue"]}, "a label is empty"),
        ({"inputs": 2}, "the model has 1 inputs, but 2 are described"),
    ],
)
def test_a_description_of_another_model_is_refused(model: Path, arguments: dict[str, int], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        described(model.read_bytes(), **arguments)  # type: ignore[arg-type]


def test_metadata_is_written_once_and_into_tflite_only(model: Path) -> None:
    with pytest.raises(ValueError, match="has metadata already"):
        described(described(model.read_bytes()))
    with pytest.raises(ValueError, match=r"no \.tflite"):
        described(b"PK\x03\x04" + bytes(60))


def test_what_follows_a_model_is_copied_as_it_is(model: Path) -> None:
    before = model.read_bytes() + bytes(2**20)  # weights, of a large model
    assert described(before).find(before[:4096]) > 0


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    chain = registry.find(CLASSIFY.parents[1])["mediapipe"]
    chain.build()
    with chain.start(tmp_path_factory.mktemp("app") / "app.log", [CLASSIFY]) as worker:
        yield worker


@pytest.mark.slow
def test_mediapipe_classifies_with_our_labels_and_the_models_numbers(app: Worker, model: Path, tmp_path: Path) -> None:
    """It shows the output as it is, largest first, dequantized where it is uint8; it applies no softmax."""
    file, images = tmp_path / "model.tflite", tmp_path / "images.npy"
    file.write_bytes(described(model.read_bytes()))
    pixels = np.random.default_rng(0).integers(0, 256, (4, 8, 8, 3), np.uint8)
    pixels[np.arange(3), :, :, np.arange(3)] = 255
    np.save(images, pixels)
    seen = app.call(CLASSIFY, "classify", {"path": str(file), "images": str(images)}, tmp_path / "log", 60).value
    expected = pixels.mean((1, 2)) / 255 * 2 - 1  # (4, 3)
    assert [dict(one) for one in seen] == [
        pytest.approx(dict(zip(LABELS, row, strict=True)), abs=1e-6 if "float32" in model.name else 0.012)
        for row in expected
    ]
    assert [one[0][0] for one in seen[:3]] == LABELS


@pytest.mark.slow
def test_what_the_converter_wrote_is_still_there(app: Worker, model: Path, tmp_path: Path) -> None:
    file = tmp_path / "model.tflite"
    file.write_bytes(described(model.read_bytes()))
    before = app.call(CLASSIFY, "read", {"path": str(model)}, tmp_path / "log", 60).value
    after = app.call(CLASSIFY, "read", {"path": str(file)}, tmp_path / "log", 60).value
    assert after["signatures"] == before["signatures"] == ["serving_default"]
    assert after["metadata"] == [*before["metadata"], "TFLITE_METADATA"]
    assert "min_runtime_version" in before["metadata"]
    old, new = model.read_bytes(), file.read_bytes()
    for (was, size), (now, same) in zip(before["buffers"], after["buffers"][:-1], strict=True):
        assert size == same
        assert was % ALIGNMENT == now % ALIGNMENT
        assert old[was : was + size] == new[now : now + same]
