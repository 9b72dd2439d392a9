"""A runner or a reader names the variables of its process, and they are there when it is imported."""

import json
from pathlib import Path

import pytest

from export.target import constants, find
from validate import measure
from validate.localise import localise
from validate.plan import Runtime
from validate.runtimes import runner
from workers import registry
from workers.toolchain import Toolchain
from workers.worker import Worker

PYTHON = (
    "import os\nSEEN = os.environ.get('PLACE')\nTOOLCHAIN = 'torch'\n"
    "def seen(): return [SEEN, os.environ['OMP_NUM_THREADS']]\n"
)
JAVASCRIPT = (
    'const SEEN = process.env.PLACE;\nexport const TOOLCHAIN = "web";\n'
    "export const seen = () => [SEEN, process.env.OMP_NUM_THREADS];\n"
)
ONEDNN = """
def enabled():
    from tensorflow.python.util import _pywrap_util_port
    return _pywrap_util_port.IsMklEnabled()
"""
"""What TensorFlow itself says; it reads the variable once, when it is imported."""


def called(worker: Worker, file: Path, function: str) -> object:
    return worker.call(file, function, {}, file.with_suffix(".log"), 60).value


def seen(folder: Path) -> dict[str, object]:
    """Of each backend of the one runner in a folder: the variable, and the threads."""
    (one,) = runner.find(folder)
    values = {}
    for backend in one.backends:
        place = Runtime(one, backend, registry.find()[one.toolchain])
        with measure.in_its_own_process(place, folder / "log", 3) as worker:
            values[backend] = called(worker, one.file, "seen")
    return values


def test_variables_of_a_runner_are_there_when_it_is_imported(tmp_path: Path) -> None:
    (tmp_path / "onnx_in_new.py").write_text(PYTHON + "ENVIRONMENT = {'PLACE': 'here', 'OMP_NUM_THREADS': '9'}\n")
    assert seen(tmp_path) == {"": ["here", "3"]}  # how many threads is validate's to say


def test_each_backend_may_have_its_own(tmp_path: Path) -> None:
    variables = {"fast": {"PLACE": "here"}, "slow": {}}
    (tmp_path / "onnx_in_new.py").write_text(f"{PYTHON}BACKENDS = ['fast', 'slow']\nENVIRONMENT = {variables}\n")
    assert seen(tmp_path) == {"fast": ["here", "3"], "slow": [None, "3"]}


def test_a_backend_that_was_forgotten_is_an_error(tmp_path: Path) -> None:
    variables = {"fast": {"PLACE": "here"}}
    (tmp_path / "onnx_in_new.py").write_text(f"{PYTHON}BACKENDS = ['fast', 'slow']\nENVIRONMENT = {variables}\n")
    with pytest.raises(KeyError, match="slow"):
        runner.find(tmp_path)


@pytest.mark.slow
def test_variables_of_a_runner_in_javascript_are_too(tmp_path: Path) -> None:
    variables = json.dumps({"PLACE": "here"})
    (tmp_path / "onnx_in_new.mjs").write_text(f"{JAVASCRIPT}export const ENVIRONMENT = {variables};\n")
    assert seen(tmp_path) == {"": ["here", "3"]}


def test_variables_of_a_reader_are_there_when_it_is_imported(tmp_path: Path) -> None:
    file = tmp_path / "onnx.py"
    file.write_text(
        "import os\nSEEN = os.environ.get('PLACE')\nENVIRONMENT = {'PLACE': 'here'}\ndef seen(): return SEEN\n"
    )
    with localise.in_its_own_process(registry.find()["torch"], file, tmp_path / "log") as worker:
        assert called(worker, file, "seen") == "here"


@pytest.fixture
def tensorflow() -> Toolchain:
    chain = registry.find()["tensorflow"]
    chain.build()
    return chain


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["onednn", "plain"])
def test_a_saved_model_is_run_with_onednn_and_without(tensorflow: Toolchain, tmp_path: Path, backend: str) -> None:
    (tmp_path / "ask.py").write_text(ONEDNN)
    (one,) = (one for one in runner.find() if one.name == "saved_model_in_tensorflow")
    with measure.in_its_own_process(Runtime(one, backend, tensorflow), tmp_path / "log", 1) as worker:
        assert called(worker, tmp_path / "ask.py", "enabled") == (backend == "onednn")


@pytest.mark.slow
def test_it_is_made_and_read_without(tensorflow: Toolchain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the user's shell says."""
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", "1")
    (tmp_path / "ask.py").write_text(ONEDNN)
    targets = {one.workplace: one for one in find().values() if one.toolchain == "tensorflow"}
    readers = {constants(file)["TOOLCHAIN"]: file for file in localise.readable().values()}
    with localise.in_its_own_process(tensorflow, readers["tensorflow"], tmp_path / "log") as worker:
        assert called(worker, tmp_path / "ask.py", "enabled") is False
    for target in targets.values():
        with tensorflow.start(tmp_path / "log", [target.file], target.environment) as worker:
            assert called(worker, tmp_path / "ask.py", "enabled") is False
