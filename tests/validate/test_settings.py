"""What a release asks for."""

from pathlib import Path

import pytest

from pipeline.errors import BadInput
from validate import settings


def test_options_add_to_the_files_section(tmp_path: Path) -> None:
    file = tmp_path / "my.toml"
    file.write_text('[train]\nepochs = 1\n[validate]\nrequire = "all"\naccept = ["a in b"]\n')
    found = settings.read(file, "", ["tflite/* in tflite_runtime"], [])
    assert found.require == "all"
    assert found.accepts("a in b")
    assert found.accepts("tflite/int8 in tflite_runtime")
    assert not found.accepts("tflite/int8 in litert xnnpack")
    assert settings.read(file, "installable", [], ["* in chromium webgpu"]).require == "installable"
    assert settings.read(None, "", [], ["* in chromium webgpu"]).leaves_out("tfjs/float32 in chromium webgpu")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[validate]\nrequired = "all"\n', "unknown key 'required'. Nearest: require"),
        ('[validate]\nrequire = "some"\n', "require = 'some'"),
        ("[validate]\naccept = 3\n", "accept = 3"),
        ("[validate\n", "not TOML"),
    ],
)
def test_what_is_wrong_is_one_sentence(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "my.toml"
    file.write_text(text)
    with pytest.raises(BadInput, match=said):
        settings.read(file, "", [], [])
