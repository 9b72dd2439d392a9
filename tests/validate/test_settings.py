"""What a release asks for."""

from pathlib import Path

import pytest

from records.errors import BadInput
from validate import settings


def test_options_add_to_the_files_section(tmp_path: Path) -> None:
    file = tmp_path / "my.toml"
    file.write_text('[train]\nepochs = 1\n[validate]\nrequire = "all"\naccept = ["a in b"]\n')
    found = settings.read(file, require="", accept=["tflite/* in tflite_runtime"])
    assert found.require == "all"
    assert found.accepts("a in b")
    assert found.accepts("tflite/int8 in tflite_runtime")
    assert not found.accepts("tflite/int8 in litert xnnpack")
    assert settings.read(file, require="installable", leave_out=["* in chromium webgpu"]).require == "installable"
    assert settings.read(None, leave_out=["* in chromium webgpu"]).leaves_out("tfjs/float32 in chromium webgpu")


def test_only_chooses_and_all_others_are_no_rows() -> None:
    found = settings.read(None, only=["tflite/int8 in *"], leave_out=["* in litert_arm64"])
    assert not found.leaves_out("tflite/int8 in litert xnnpack")
    assert found.leaves_out("tflite/int8 in litert_arm64")
    assert found.chooses("tflite/int8 in litert_arm64")
    assert not found.chooses("onnx/int8 in onnxruntime")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[validate]\nrequired = "all"\n', "unknown key 'required'. Nearest: require"),
        ('[validate]\nrequire = "some"\n', "require = 'some'"),
        ("[validate]\naccept = 3\n", "accept = 3"),
        ("[validate\n", "not TOML"),
        ("[validate.tolerance.int7]\nsqnr_db = 20\n", "unknown precision 'int7'. Nearest: int8"),
        ("[validate.tolerance.int8]\nsqnr = 20\n", "unknown measure 'sqnr'. Nearest: sqnr_db"),
        ("[validate.tolerance.int8]\nsqnr_db = 0\n", "sqnr_db is 0.0. Give a positive number"),
        ('[validate.tolerance.int8]\nsqnr_db = "much"\n', "tolerance.int8.sqnr_db = 'much'"),
    ],
)
def test_what_is_wrong_is_one_sentence(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "my.toml"
    file.write_text(text)
    with pytest.raises(BadInput, match=said):
        settings.read(file)
