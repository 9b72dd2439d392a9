"""Every example does what it says, from an empty folder; docs/adopting.md's commands run the fourth."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    ["two_inputs", *(pytest.param(name, marks=pytest.mark.nightly) for name in ("textbook_cnn", "timm_model"))],
)
def test_an_example_ends_with_everything_proved(tmp_path: Path, name: str) -> None:
    environment = {**os.environ, "ANYWHERE_CHROMIUM": "/no/such"}
    command = [sys.executable, str(ROOT / "examples" / f"{name}.py")]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "runs").is_dir()


def test_an_example_is_a_screen_long() -> None:
    for file in (ROOT / "examples").glob("*.py"):
        assert len(file.read_text().splitlines()) <= 70, file
