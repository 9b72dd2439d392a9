"""A page in a real Chromium: what it answers comes out, and one that fails, crashes or hangs is one sentence."""

import os
import signal
import subprocess
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from tests.validate.runtimes.test_web_runners import FOREIGN, SAMPLES, measure, web
from workers.toolchain import Toolchain
from workers.worker import Worker, WorkerFailed

__all__ = ["FOREIGN", "web"]


@pytest.fixture(scope="module")
def golden(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images that no page here looks at, and what is to come of them."""
    file = tmp_path_factory.mktemp("golden") / "golden.safetensors"
    images = np.random.default_rng(0).normal(size=(SAMPLES, 3, 6, 6)).astype(np.float32)
    save_file({"input.image": images, "output.logits": images.mean((2, 3)) @ np.ones((3, 4), np.float32)}, file)
    return file


def page(folder: Path, activate: str) -> Path:
    """A runner in Chromium that does this."""
    file = folder / "page.mjs"
    file.write_text(
        'export const TOOLCHAIN = "web";\nexport const NEEDS = ["chromium"];\nexport const version = () => "x";\n'
        f"export async function activate(url) {{ {activate} }}\n"
    )
    return file


def processes(worker: Worker) -> dict[int, str]:
    """Those alive of the worker's group, with their command lines."""
    listed = subprocess.run(["ps", "-eo", "pid,pgid,stat,args"], capture_output=True, text=True, check=True).stdout
    rows = [line.split(maxsplit=3) for line in listed.splitlines()[1:]]
    return {int(row[0]): row[3] for row in rows if row[1] == str(worker._process.pid) and "Z" not in row[2]}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("activate", "said"),
    [
        ('throw new RangeError("no such operator");', "RangeError: no such operator"),
        ('setTimeout(() => { throw new Error("in a callback"); }); await new Promise(() => {});', "in a callback"),
        ('await import("/validate/none.mjs");', "TypeError: Failed to fetch dynamically imported module"),
        ("return async () => ({ logits: { data: [1], shape: [2] } });", "logits: 1 values for shape"),
    ],
)
def test_a_page_that_throws_is_one_sentence(
    web: Toolchain, golden: Path, tmp_path: Path, activate: str, said: str
) -> None:
    with web.start(tmp_path / "log") as worker:
        runner = page(tmp_path, f'console.log("the page speaks"); {activate}')
        with pytest.raises(WorkerFailed, match=said):
            measure(worker, runner, golden, golden)
        assert "page log: the page speaks" in (tmp_path / "log").read_text()
        assert [line for line in processes(worker).values() if "chrom" in line] == []


@pytest.mark.slow
def test_outputs_that_are_large_come_out_of_a_page(web: Toolchain, golden: Path, tmp_path: Path) -> None:
    """Of a body of 90 MB Chromium died: a segmentation model's of 32 pictures are as large."""
    each = 2**21  # values of a sample: with what is run again, and alone, twelve of them are 100 MB
    answer = f"""return async ({{ image }}) => {{
        const rows = image.shape[0];
        const data = Float32Array.from({{ length: rows * {each} }}, (_, n) => n % 7919);
        return {{ logits: {{ data, shape: [rows, {each}] }} }};
    }};"""
    with web.start(tmp_path / "log") as worker:
        _, actual = measure(worker, page(tmp_path, answer), golden, golden)
    assert actual["logits"].shape == (SAMPLES, each)
    assert sum(file.stat().st_size for file in tmp_path.rglob("*.safetensors")) > 100e6
    np.testing.assert_array_equal(actual["logits"], np.arange(SAMPLES * each).reshape(SAMPLES, each) % 7919)


@pytest.mark.slow
def test_a_page_that_crashes_is_one_sentence(web: Toolchain, golden: Path, tmp_path: Path) -> None:
    runner = page(tmp_path, 'console.log("now"); await new Promise(() => {});')
    log = tmp_path / "log"
    with web.start(log) as worker:

        def crash() -> None:
            while "page log: now" not in log.read_text():
                time.sleep(0.05)
            for pid, command in processes(worker).items():
                if "--type=renderer" in command:
                    os.kill(pid, signal.SIGSEGV)

        thread = threading.Thread(target=crash)
        thread.start()
        with pytest.raises(WorkerFailed, match="the page crashed"):
            measure(worker, runner, golden, golden)
        thread.join()


@pytest.mark.slow
def test_a_page_that_never_answers_ends_with_all_of_chromium(web: Toolchain, golden: Path, tmp_path: Path) -> None:
    runner = page(tmp_path, 'console.log("now"); for (;;);')
    with web.start(tmp_path / "log") as worker:
        with pytest.raises(WorkerFailed, match="gave no answer within 8 s and was killed"):
            measure(worker, runner, golden, golden, limit_s=8)
        assert "page log: now" in (tmp_path / "log").read_text()
        for _ in range(50):
            if not processes(worker):
                break
            time.sleep(0.1)
        assert processes(worker) == {}


@pytest.mark.parametrize(
    ("program", "said"), [("/bin/false", "/bin/false ended before"), ("/no/such", "spawn /no/such ENOENT")]
)
def test_a_chromium_that_does_not_start_is_one_sentence(
    web: Toolchain, golden: Path, tmp_path: Path, program: str, said: str
) -> None:
    with (
        web.start(tmp_path / "log", environment={"ANYWHERE_CHROMIUM": program}) as worker,
        pytest.raises(WorkerFailed, match=said),
    ):
        measure(worker, page(tmp_path, ""), golden, golden)
