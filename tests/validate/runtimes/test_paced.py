"""A slow runtime is given few samples in a call: a batch of a detector's pictures may take minutes."""

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from validate.runtimes import runner
from validate.runtimes.job import Job
from workers import registry

FOREIGN = ("web",)
EACH_S = 0.1
"""Seconds that a sample takes."""
PYTHON = """
import time

TOOLCHAIN, NEEDS = "torch", []


def version():
    return "slow"


def activate(path, manifest, threads, backend):
    def infer(inputs):
        count = len(inputs["image"])
        time.sleep(count * {each_s})
        return {{"count": inputs["image"] * 0 + count}}

    return infer
"""
JAVASCRIPT = """
export const TOOLCHAIN = "web";
export const NEEDS = [];
export const version = () => "slow";
export const activate = async () => async ({{ image }}) => {{
  const count = image.shape[0];
  await new Promise((done) => setTimeout(done, 1e3 * count * {each_s}));
  return {{ count: {{ data: Float32Array.from(image.data, () => count), shape: image.shape }} }};
}};
"""
"""Runners whose output is how many samples they were given in the call."""


def measured(tmp_path: Path, harness: Path, source: str, call_s: float) -> dict[str, np.ndarray]:
    """The outputs that a slow runner leaves for 40 golden inputs."""
    suffix = ".mjs" if harness.suffix == ".mjs" else ".py"
    file, out = tmp_path / f"slow{suffix}", tmp_path / "out"
    file.write_text(source.format(each_s=EACH_S))
    save_file({"input.image": np.zeros((40, 1), np.float32)}, tmp_path / "golden")
    tensor = {"name": "image", "dtype": "float32", "shape": ["batch", 1], "layout": "NC"}
    manifest = {"inputs": [tensor], "outputs": [tensor | {"name": "count"}]}
    job = Job(file, file, manifest, tmp_path / "golden", out, 40, 1, batches=(33, 2, 3)).record()
    job["budget"] |= {"call_s": call_s, "timed": 1, "warm_up": 1}
    if suffix == ".py":
        runner.measure(**job)
    else:
        chain = registry.find()["web"]
        chain.build()
        with chain.start(tmp_path / "log") as worker:
            worker.call(harness, "measure", job, tmp_path / "log", 60)
    return load_file(out)


HARNESSES = {
    "python": (Path(runner.__file__), PYTHON, 32),
    "javascript": (Path(runner.__file__).with_name("measure.mjs"), JAVASCRIPT, 8),
}


@pytest.mark.slow
@pytest.mark.parametrize("harness", HARNESSES)
def test_a_slow_runtime_is_given_few_samples_in_a_call(tmp_path: Path, harness: str) -> None:
    file, source, _ = HARNESSES[harness]
    found = measured(tmp_path, file, source, call_s=2.9 * EACH_S)
    assert set(found["golden.count"].ravel()) == {2.0}
    assert [name for name in found if name.startswith("batches.")] == ["batches.3.count"]


@pytest.mark.slow
@pytest.mark.parametrize("harness", HARNESSES)
def test_any_other_is_given_whole_batches(tmp_path: Path, harness: str) -> None:
    file, source, most = HARNESSES[harness]
    found = measured(tmp_path, file, source, call_s=60)
    assert found["golden.count"].max() == most
    assert "batches.33.count" in found
