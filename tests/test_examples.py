"""Every example does what it says, from an empty folder; docs/adopting.md's commands run the fourth."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.nightly
@pytest.mark.parametrize("name", ["two_inputs", "textbook_cnn", "timm_model"])
def test_an_example_ends_with_everything_proved(tmp_path: Path, name: str) -> None:
    said(name, tmp_path)
    assert (tmp_path / "runs").is_dir()


@pytest.mark.nightly
def test_lines_of_digits_are_read_alike_by_pytorch_and_by_its_artifacts(tmp_path: Path) -> None:
    counts = {
        name: int(count) for name, count in re.findall(r"(\S+): (\d+) of 200 lines", said("digit_line", tmp_path))
    }
    assert set(counts) == {"PyTorch", "onnx/float32", "tflite/float32", "tflite/float16"}
    assert min(counts.values()) > 150
    assert len({counts[name] for name in ("PyTorch", "onnx/float32", "tflite/float32")}) == 1


def said(name: str, place: Path) -> str:
    """What an example prints, run in an empty folder."""
    environment = {**os.environ, "ANYWHERE_CHROMIUM": "/no/such"}
    command = [sys.executable, str(ROOT / "examples" / f"{name}.py")]
    done = subprocess.run(command, cwd=place, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_an_example_is_a_screen_long() -> None:
    for file in (ROOT / "examples").glob("*.py"):
        assert len(file.read_text().splitlines()) <= 70, file
