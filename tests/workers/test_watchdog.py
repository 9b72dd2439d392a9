"""Nothing outlives a command: killed, its workers end with all that they have started."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from workers.watchdog import Watchdog
from workers.worker import memory_of_group

COMMAND = """
import os, subprocess, sys, time
from workers.watchdog import Watchdog
watchdog = Watchdog()
for folder in sys.argv[1:]:
    child = subprocess.Popen(["sh", "-c", "sleep 600 & sleep 600"], start_new_session=True)
    watchdog.keep(child.pid, folder)
    print(child.pid, flush=True)
ended = subprocess.Popen(["sleep", "0"], start_new_session=True)
watchdog.keep(ended.pid, sys.argv[1] + "-kept")
ended.wait()
watchdog.forget(ended.pid)
print("ready", flush=True)
time.sleep(600)
"""


def gone(group: int) -> bool:
    """True once no process of a group holds memory, two seconds at most."""
    end = time.monotonic() + 2
    while memory_of_group(group) and time.monotonic() < end:
        time.sleep(0.02)
    return not memory_of_group(group)


@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGTERM])
def test_what_a_command_started_ends_with_it(tmp_path: Path, sent: signal.Signals) -> None:
    folders = [tmp_path / "one", tmp_path / "two"]
    for folder in (*folders, tmp_path / "one-kept"):
        folder.mkdir()
    command = [sys.executable, "-c", COMMAND, *map(str, folders)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]) as process:
        assert process.stdout
        groups = [int(process.stdout.readline()) for _ in folders]
        assert process.stdout.readline() == "ready\n"
        assert all(memory_of_group(group) for group in groups)
        process.send_signal(sent)
    assert all(gone(group) for group in groups)
    end = time.monotonic() + 2
    while any(folder.exists() for folder in folders) and time.monotonic() < end:
        time.sleep(0.02)
    assert [folder.name for folder in sorted(tmp_path.iterdir())] == ["one-kept"]


def test_without_its_process_the_others_go_on() -> None:
    watchdog = Watchdog()
    watchdog.keep(2**22 - 1, "/nowhere")
    assert watchdog._process
    os.kill(watchdog._process.pid, signal.SIGKILL)
    watchdog._process.wait()
    watchdog.forget(2**22 - 1)


@pytest.mark.slow
@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGTERM])
def test_a_validation_that_is_ended_leaves_no_worker(released: Path, sent: signal.Signals) -> None:
    """Once its first worker is there, of whatever runtime."""
    scratch = Path(tempfile.mkdtemp(prefix="anywhere-"))
    command = subprocess.Popen(
        [sys.executable, "-m", "anywhere", "validate", "tiny", "--only", "tfjs/float32 in *"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "TMPDIR": str(scratch)},
    )
    end = time.monotonic() + 60
    while not (workers := groups_below(command.pid)) and time.monotonic() < end:
        time.sleep(0.02)
    assert workers
    command.send_signal(sent)
    status = command.wait(20)
    assert status == (130 if sent == signal.SIGTERM else -signal.SIGKILL)
    assert all(gone(group) for group in workers)
    end = time.monotonic() + 2
    while any(scratch.iterdir()) and time.monotonic() < end:
        time.sleep(0.02)
    scratch.rmdir()


def groups_below(parent: int) -> list[int]:
    """The workers that a process has started: each leads a group of its own; the watchdog is none."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
            line = (stat.parent / "cmdline").read_text()
        except OSError:  # it has just ended
            continue
        if int(fields[1]) == parent and int(fields[2]) == int(stat.parent.name) and "inside" in line:
            found.append(int(stat.parent.name))
    return found
