"""Defaults, a file, options; and a sentence for what is wrong."""

import tomllib
from pathlib import Path

import pytest

from pipeline import config as configs
from records.errors import BadInput


def written(folder: Path, text: str) -> Path:
    path = folder / "my.toml"
    path.write_text(text)
    return path


def test_options_override_the_file_and_the_file_the_defaults(tmp_path: Path) -> None:
    file = written(tmp_path, "[train]\nepochs = 3\nseed = 5\n")
    config = configs.read(file, {"train.seed": 9})
    assert (config.train.epochs, config.train.seed, config.train.batch_size) == (3, 9, 32)


def test_what_is_written_is_read_back_the_same(tmp_path: Path) -> None:
    config = configs.read(None, {"model.options": {"dropout": 0.3, "convolutions": 1}, "train.ema": 0.5})
    assert configs.read(written(tmp_path, configs.to_toml(config))) == config


def test_every_field_has_a_docstring() -> None:
    fields = configs.fields()
    assert [key for key, _, _ in fields] == configs.keys()
    assert all(text.endswith((".", "…")) for _, _, text in fields)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[train]\nepoch = 3\n", "unknown key 'train.epoch'. Nearest: train.epochs"),
        ("[trian]\nepochs = 3\n", "unknown key 'trian'"),
        ('[train]\nepochs = "3"\n', "train.epochs = '3': input should be a valid integer"),
        ("[train]\nepochs = 0\n", "train.epochs = 0: input should be greater than or equal to 1"),
        ("[train]\namp = 1\n", "train.amp = 1: input should be a valid boolean"),
        ("[model]\nmean = [0.5, 0.5]\n", "model.mean"),
        ("train = 3\n", "train = 3"),
        ("[train\n", "not TOML"),
    ],
)
def test_a_wrong_file_is_named_with_the_key(tmp_path: Path, text: str, said: str) -> None:
    file = written(tmp_path, text)
    with pytest.raises(BadInput) as raised:
        configs.read(file)
    assert said in str(raised.value)
    assert str(file) in str(raised.value)


def test_a_missing_file_is_bad_input(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="cannot be read"):
        configs.read(tmp_path / "none.toml")


@pytest.mark.parametrize(
    ("text", "value"),
    [("train.epochs=3", 3), ("model.options={dropout=0.1}", {"dropout": 0.1}), ("data.folder=my images", "my images")],
)
def test_a_setting_is_toml_or_else_a_string(text: str, value: object) -> None:
    assert configs.parse_setting(text) == (text.partition("=")[0], value)


def test_a_setting_needs_a_value() -> None:
    with pytest.raises(BadInput, match="key=value"):
        configs.parse_setting("train.epochs")


@pytest.mark.parametrize(("text", "size"), [("64", (64, 64)), ("96x64", (96, 64)), ("96×64", (96, 64)), ("0", (0, 0))])
def test_a_size_is_a_number_or_height_and_width(text: str, size: tuple[int, int]) -> None:
    config = configs.read(None, {"data.image_size": configs.parse_size(text)})
    assert config.data.size == size
    assert configs.check(tomllib.loads(configs.to_toml(config)), "again") == config


@pytest.mark.parametrize("text", ["", "x", "64x", "1x2x3", "-3", "wide"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(BadInput, match=r"no size in pixels\. Write 64, or height and width as 96x64"):
        configs.parse_size(text)
