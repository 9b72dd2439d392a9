"""Each command, killed at any moment: nothing is left two seconds later, and the next goes on or says what to do."""

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

MARK = "ANYWHERE_TEST_MARK"
"""Variable by which the processes of a command are known, whoever started them."""
LATEST_S = {"train": 30.0, "export": 25.0, "validate": 8.0}
"""Seconds that each command takes, more or less; a kill is before that."""
COMMANDS = {
    "train": ("train", "--run", "new", "--model", "simple_cnn", "--epochs", "1", "--set", "data.golden=64"),
    "export": ("export", "tiny", "--to", "onnx,torchscript", "--force"),
    "validate": ("validate", "tiny", "--only", "onnx/* in onnxruntime", "--calls", "1"),
}
KILLS = 20
"""Of each; `make test` does one."""


def start(arguments: Sequence[str], variables: Mapping[str, str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "anywhere", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), **variables},
    )


def marked(mark: str) -> list[int]:
    """The processes that were started with this mark and have not ended."""
    found = []
    for environ in Path("/proc").glob("[0-9]*/environ"):
        try:
            if f"{MARK}={mark}".encode() in environ.read_bytes():
                found.append(int(environ.parent.name))
        except OSError:  # it has just ended, or is not ours
            continue
    return found


def killed(process: subprocess.Popen[str], moment: float) -> int:
    """The exit status of a command that is killed after so many seconds, if it is not done before."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.communicate(timeout=moment)
    process.kill()
    process.communicate()
    return process.returncode


@pytest.mark.slow
@pytest.mark.parametrize(
    "seed", [pytest.param(seed, marks=[pytest.mark.nightly] * (seed > 0)) for seed in range(KILLS)]
)
@pytest.mark.parametrize("stage", COMMANDS)
def test_killed_at_any_moment_nothing_is_left_and_the_next_one_goes_on(
    at_home: Path, tmp_path: Path, stage: str, seed: int
) -> None:
    moment = random.Random(f"{stage} {seed}").uniform(0.3, LATEST_S[stage])
    mark, scratch = uuid.uuid4().hex, tmp_path / "scratch"
    scratch.mkdir()
    variables = {MARK: mark, "TMPDIR": str(scratch)}
    while killed(start(COMMANDS[stage], variables), moment) != -signal.SIGKILL:
        moment /= 2  # it was done before
    end = time.monotonic() + 2
    while (marked(mark) or any(scratch.iterdir())) and time.monotonic() < end:
        time.sleep(0.02)
    assert (marked(mark), list(scratch.iterdir())) == ([], []), f"killed after {moment:.1f} s"
    again = start(COMMANDS[stage], variables)
    said, _ = again.communicate()
    if again.returncode == 2:  # it says what to do, and that does it
        assert "Go on with `anywhere train --resume --run new`" in said, said
        again = start(("train", "--resume", "--run", "new"), variables)
        said, _ = again.communicate()
    assert again.returncode == 0, said
    assert list(scratch.iterdir()) == []
    assert list(Path("runs").rglob("*.new")) == []
