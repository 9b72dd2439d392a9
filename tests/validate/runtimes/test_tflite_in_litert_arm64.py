"""The emulated ARM64 runtime computes what the model says, and fails like every other worker."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.locks import locked
from validate.runtimes import runner
from workers import registry
from workers.worker import Worker, WorkerFailed

DATA = Path(__file__).parents[2] / "data"
DRIVER = """
import importlib.util, os, platform, time
import numpy as np

def load(path):
    spec = importlib.util.spec_from_file_location("runner", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module

def infer(runner, path, image, backend):
    module = load(runner)
    run = module.activate(path, {"outputs": [{"name": "colour"}]}, 1, backend)
    values = [run({"image": one[None]})["colour"] for one in np.load(image)]
    return [platform.machine(), module.version(), str(values[0].dtype), np.concatenate(values).tolist()]

def crash(): os.kill(os.getpid(), 11)
def hang(): time.sleep(600)
def hoard():
    hoarded = []
    while True:
        hoarded.append(bytearray(os.urandom(2**20)) * 20)
"""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("qemu-aarch64-static") is None, reason="apt-get install qemu-user-static"),
]


@pytest.fixture
def driver(tmp_path: Path) -> Path:
    file = tmp_path / "driver.py"
    file.write_text(DRIVER)
    return file


@pytest.fixture
def worker(driver: Path, tmp_path: Path) -> Iterator[Worker]:
    chain = registry.find()["litert_arm64"]
    chain.build()
    with chain.start(tmp_path / "worker.log", [driver], memory_limit=600 * 2**20) as started:
        yield started


@pytest.mark.parametrize("precision", ["float32", "uint8"])
def test_it_computes_the_mean_colour_on_arm64(worker: Worker, driver: Path, tmp_path: Path, precision: str) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 3), np.uint8)
    np.save(tmp_path / "image.npy", pixels if precision == "uint8" else pixels.astype(np.float32) / 255)
    (file,) = (one.file for one in runner.find() if one.name == "tflite_in_litert_arm64")
    job = {
        "runner": str(file),
        "path": str(DATA / f"mean-{precision}.tflite"),
        "image": str(tmp_path / "image.npy"),
        "backend": "",
    }
    found = worker.call(driver, "infer", job, tmp_path / "log", 120).value
    assert found[:3] == ["aarch64", locked("litert_arm64", "ai-edge-litert"), precision]
    expected = pixels.mean((1, 2)) / 255 * 2 - 1  # (3, 3)
    scale, zero, step = (2 / 255, 127, 4 / 255) if precision == "uint8" else (1, 0, 1e-6)  # two steps, as on x86
    np.testing.assert_allclose((np.array(found[3]) - zero) * scale, expected, atol=step)


@pytest.mark.parametrize(
    ("function", "said"),
    [
        ("crash", "was ended by signal SIGSEGV"),
        ("hang", "gave no answer within 1 s and was killed"),
        ("hoard", r"of memory \(0\.6 allowed\) and was killed"),
    ],
)
def test_an_emulated_worker_fails_like_any_other(worker: Worker, driver: Path, function: str, said: str) -> None:
    with pytest.raises(WorkerFailed, match=said):
        worker.call(driver, function, {}, driver.with_name("log"), 1 if function == "hang" else 60)
