"""A run with three artifacts, and a report of it: judged for real, in the runtimes of this environment."""

import shutil
from pathlib import Path

import pytest

from export.run import Run
from export.target import find, plan
from tests.conftest import TINY, entered
from tests.kept import bring
from validate import parity
from validate.measure import Options
from validate.report.records import Report
from validate.runtimes import runner


@pytest.fixture(scope="session")
def proved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds `runs/tiny` with onnx and torchscript exported. Not to be written into: `shown` is a copy."""
    conversions = plan(find(), ["onnx", "torchscript"], ["float32", "int8"])
    return bring("tiny", TINY, tmp_path_factory.mktemp("proved"), conversions)


@pytest.fixture(scope="session")
def made(proved: Path, tmp_path_factory: pytest.TempPathFactory) -> Report:
    """ONNX passes; TorchScript has no runner."""
    place = tmp_path_factory.mktemp("made")
    shutil.copytree(proved, place, dirs_exist_ok=True)
    only = [one for one in runner.find() if one.toolchain == "torch" and one.target != "torchscript"]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        return parity.check(Run.open("tiny"), only, Options(1, timed=3))


@pytest.fixture
def shown(proved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """The run in a folder of its own, the current one."""
    entered(proved, tmp_path / "work", monkeypatch)
    return Run.open("tiny")
