"""Nothing outlives a command: killed, its workers end with all that they have started."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from records.folder import Scratch
from workers import registry
from workers.watchdog import Watchdog
from workers.worker import memory_of_group

COMMAND = """
import os, subprocess, sys, time
from workers.watchdog import Watchdog
watchdog = Watchdog()
for folder in sys.argv[1:]:
    child = subprocess.Popen(["sh", "-c", "sleep 600 & sleep 600"], start_new_session=True)
    watchdog.keep(folder, child.pid)
    print(child.pid, flush=True)
ended = subprocess.Popen(["sleep", "0"], start_new_session=True)
watchdog.keep(sys.argv[1] + "-kept", ended.pid)
ended.wait()
watchdog.forget(sys.argv[1] + "-kept")
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
    watchdog.keep("/nowhere", 2**22 - 1)
    assert watchdog._process
    os.kill(watchdog._process.pid, signal.SIGKILL)
    watchdog._process.wait()
    watchdog.forget("/nowhere")


LIMITED = """
import sys, time
from workers import inside
inside.GRACE_S = 0.2
limit = inside.Limit(0.2)
if sys.argv[1] == "called off":
    limit.call_off()
    time.sleep(1)
elif sys.argv[1] == "busy":
    sum(range(10**13))  # C code that holds Python's lock
else:
    import subprocess
    subprocess.run(["sleep", "600"])
"""


@pytest.mark.parametrize(("kind", "status"), [("waits", -signal.SIGKILL), ("busy", -signal.SIGALRM), ("called off", 0)])
def test_a_worker_ends_itself_after_its_limit_whoever_waits_for_it(kind: str, status: int) -> None:
    """With what it has started; in C code, alone."""
    process = subprocess.Popen(
        [sys.executable, "-c", LIMITED, kind], start_new_session=True, cwd=Path(__file__).parents[2]
    )
    assert process.wait(30) == status
    assert gone(process.pid)


JOB = """
import sys
from pathlib import Path
from workers import registry
chain = registry.find()[sys.argv[1]]
with chain.start(Path("worker.log")) as worker:
    print(worker._process.pid, flush=True)
    worker.call(Path(sys.argv[2]).absolute(), "hang", {}, Path("job.log"), 1.0)
"""
HANGS = {
    "torch": ("hang.py", "import subprocess\ndef hang(): subprocess.run(['sleep', '600'])\n"),
    "web": ("hang.mjs", "export function hang() { for (;;); }\n"),
}


@pytest.mark.slow
@pytest.mark.parametrize("chain", HANGS)
def test_a_command_that_was_stopped_keeps_no_worker_beyond_its_limit(tmp_path: Path, chain: str) -> None:
    """A worker in Python with a child, and one in Node that never comes to rest."""
    registry.find()[chain].build()
    name, text = HANGS[chain]
    (tmp_path / name).write_text(text)
    variables = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, "-c", JOB, chain, name]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=tmp_path, env=variables) as process:
        assert process.stdout
        worker = int(process.stdout.readline())
        while not (tmp_path / "job.log").exists():
            time.sleep(0.02)
        process.send_signal(signal.SIGSTOP)
        end = time.monotonic() + 60  # it may still be importing
        while memory_of_group(worker) and time.monotonic() < end:
            time.sleep(0.1)
        ended = not memory_of_group(worker)
        process.kill()
    assert ended


LEFT = """
import os, signal
from records.folder import Scratch
print(Scratch().folder, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_folder_that_was_left_is_removed_by_the_next_and_one_in_use_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    variables = {**os.environ, "TMPDIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", LEFT], stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2], env=variables
    )
    left = Path(done.stdout.strip())
    (left / "inside").mkdir()
    (tmp_path / "anywhere-of-another").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with Scratch() as first, Scratch() as second:
        assert not left.exists()
        assert first.is_dir()
        assert second.is_dir()
    assert [path.name for path in tmp_path.iterdir()] == ["anywhere-of-another"]


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
