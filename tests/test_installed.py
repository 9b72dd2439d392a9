"""Installed as a tool it works from any folder, with the oldest Python and what its ranges resolve to today."""

import subprocess
from pathlib import Path

import pytest

from tests.test_readme import ROOT, environment
from workers import toolchain


@pytest.mark.slow
def test_installed_it_works_from_any_folder_with_the_oldest_python(tmp_path: Path) -> None:
    """As `uv tool install .` does it: from the wheel."""
    users = environment(UV_TOOL_DIR=str(tmp_path / "tools"), UV_TOOL_BIN_DIR=str(tmp_path / "bin"))
    install = [toolchain.uv_path(), "tool", "install", "--quiet", "--python", "3.11", str(ROOT)]
    subprocess.run(install, cwd=ROOT, env=users, check=True)
    (tmp_path / "elsewhere").mkdir()
    for line in (
        "train --model simple_cnn --epochs 2 --run mine",
        "export --to onnx,torchscript --precision float32",
        "validate",
        "targets",
        "doctor --fix",
    ):
        command = [str(tmp_path / "bin" / "anywhere"), *line.split()]
        done = subprocess.run(command, cwd=tmp_path / "elsewhere", capture_output=True, text=True)
        assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
    assert (tmp_path / "elsewhere" / "runs" / "mine" / "report" / "report.json").is_file()
    assert [path.name for path in (tmp_path / "elsewhere").iterdir()] == ["runs"]
