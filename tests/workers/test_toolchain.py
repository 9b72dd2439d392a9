"""A worker that fails in any way is one sentence; a foreign environment holds what its lock says and nothing else."""

import errno
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from records.errors import BadInput
from workers import registry, toolchain
from workers.toolchain import Toolchain
from workers.worker import Worker, WorkerFailed

JOBS = """
import ctypes, os, sys, time

def add(a, b): return a + b
def nap(seconds): time.sleep(seconds)
def chatter(): print('{"event": "result", "id": 1}'); os.system("echo from a child"); return "done"
def fail(): raise ValueError("no such operator")
def full(): raise OSError(28, os.strerror(28))
def leave(): sys.exit(3)
def vanish(): os._exit(7)
def crash(): os.kill(os.getpid(), 11)
def hang(): time.sleep(600)
def hang_with_child(): os.system("sleep 600")
def bytes_(): return b"no JSON"
def hoard():
    hoarded = []
    while True:
        hoarded.append(bytearray(os.urandom(2**20)) * 20)
        time.sleep(0.01)
def big(): return len(bytearray(os.urandom(2**20)) * 200)
def rubbish():
    for number in range(3, 30):
        try: os.write(number, b"Segmentation fault (core dumped)\\n")
        except OSError: pass
    time.sleep(60)
def old_answer():
    for number in range(3, 30):
        try: os.write(number, b'{"event": "result", "id": 99, "value": 1}\\n')
        except OSError: pass
    time.sleep(60)
"""


FOREIGN = ("mini",)


@pytest.fixture
def jobs(tmp_path: Path) -> Path:
    file = tmp_path / "jobs.py"
    file.write_text(JOBS)
    return file


@pytest.fixture
def worker(jobs: Path, tmp_path: Path) -> Iterator[Worker]:
    with registry.find()["torch"].start(tmp_path / "worker.log", [jobs], memory_limit=400 * 2**20) as started:
        yield started


def call(worker: Worker, jobs: Path, function: str, limit_s: float = 30, **arguments: object) -> object:
    return worker.call(jobs, function, arguments, jobs.with_name("job.log"), limit_s).value


def test_a_worker_does_one_job_after_the_other(worker: Worker, jobs: Path) -> None:
    assert call(worker, jobs, "add", a=1, b=2) == 3
    done = worker.call(jobs, "add", {"a": "x", "b": "y"}, jobs.with_name("job.log"), 30)
    assert done.value == "xy"
    assert done.peak_memory > 5 * 2**20
    assert worker.call(jobs, "nap", {"seconds": 0.05}, jobs.with_name("job.log"), 30).seconds >= 0.05


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux counts the peak anew")
def test_the_peak_of_a_job_is_its_own(worker: Worker, jobs: Path) -> None:
    peaks = [
        worker.call(jobs, function, arguments, jobs.with_name("job.log"), 30).peak_memory
        for function, arguments in (("add", {"a": 1, "b": 2}), ("big", {}), ("add", {"a": 1, "b": 2}))
    ]
    assert peaks[1] > peaks[0] + 190 * 2**20
    assert peaks[2] < peaks[0] + 50 * 2**20


def test_what_a_converter_prints_goes_to_its_log_and_is_taken_for_nothing(worker: Worker, jobs: Path) -> None:
    assert call(worker, jobs, "chatter") == "done"
    log = jobs.with_name("job.log").read_text()
    assert '{"event": "result", "id": 1}' in log
    assert "from a child" in log


def test_an_error_names_itself_and_leaves_its_traceback_in_the_log(worker: Worker, jobs: Path) -> None:
    with pytest.raises(WorkerFailed, match="ValueError: no such operator"):
        call(worker, jobs, "fail")
    assert "Traceback" in jobs.with_name("job.log").read_text()
    assert call(worker, jobs, "add", a=1, b=1) == 2


@pytest.mark.parametrize(
    ("function", "said"),
    [
        ("leave", "SystemExit: 3"),
        ("vanish", "ended with exit status 7"),
        ("crash", "was ended by signal SIGSEGV"),
        ("hang", "gave no answer within 0.5 s and was killed"),
        ("hang_with_child", "gave no answer within 0.5 s and was killed"),
        ("rubbish", "wrote what is no event: 'Segmentation fault"),
        ("old_answer", "to job 1"),
        ("bytes_", "TypeError: Object of type bytes is not JSON serializable"),
        ("no_such_function", "AttributeError"),
    ],
)
def test_a_failing_worker_is_one_sentence(worker: Worker, jobs: Path, function: str, said: str) -> None:
    with pytest.raises(WorkerFailed) as raised:
        call(worker, jobs, function, limit_s=0.5 if function.startswith("hang") else 30)
    assert said in str(raised.value)


def test_too_much_memory_ends_the_worker_not_the_machine(worker: Worker, jobs: Path) -> None:
    with pytest.raises(WorkerFailed, match=r"used 0\.\d GiB of memory \(0\.4 allowed\) and was killed"):
        call(worker, jobs, "hoard")
    assert not worker.alive


def test_nothing_is_left_running_after_a_hang(worker: Worker, jobs: Path) -> None:
    with pytest.raises(WorkerFailed):
        call(worker, jobs, "hang_with_child", limit_s=0.5)
    group = worker._process.pid
    listed = subprocess.run(["ps", "-eo", "pgid,stat,cmd"], capture_output=True, text=True, check=True).stdout
    alive = [line for line in listed.splitlines() if line.split()[0] == str(group) and "Z" not in line.split()[1]]
    assert alive == []


def test_a_file_that_cannot_be_imported_fails_its_job(tmp_path: Path) -> None:
    bad = tmp_path / "bad.py"
    bad.write_text("import no_such_module\n")
    with (
        registry.find()["torch"].start(tmp_path / "worker.log", [bad]) as worker,
        pytest.raises(WorkerFailed, match="ModuleNotFoundError: No module named 'no_such_module'"),
    ):
        call(worker, bad, "anything")


def test_a_worker_sees_the_project_but_not_the_folder_it_lies_in(worker: Worker, tmp_path: Path) -> None:
    """Installed, that folder is another Python's site-packages."""
    file = tmp_path / "look.py"
    file.write_text(
        "import sys\n"
        "def look():\n"
        "    import export.target, pipeline.checkpoint\n"
        "    return [str(export.target.__file__), sys.path]\n"
    )
    found, path = call(worker, file, "look")  # type: ignore[misc]
    assert found == str(toolchain.ROOT / "export" / "target.py")
    assert str(tmp_path) not in path


@pytest.fixture
def mini(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Toolchain:
    """A foreign toolchain of one small package, locked like the real ones."""
    monkeypatch.setenv("ANYWHERE_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "toolchains" / "mini"
    folder.mkdir(parents=True)
    (folder / "requirements.in").write_text("six==1.17.0\n")
    (folder / ".python-version").write_text("3.11\n")
    (folder / "requirements.txt").write_text(
        "six==1.17.0 \\\n"
        "    --hash=sha256:4721f391ed90541fddacab5acf947aa0d3dc7d27b2e1e8eda2be8970586c3274 \\\n"
        "    --hash=sha256:ff70335d468e7eb6ec65b95b99d3a2836546063f63acc5171de367e834932a81\n"
    )
    return registry.find(folder.parent)["mini"]


def test_a_foreign_environment_is_built_once_and_holds_its_lock_alone(mini: Toolchain, tmp_path: Path) -> None:
    assert not mini.ready
    mini.build()
    assert mini.ready
    stamp = (mini.home / "pyvenv.cfg").stat().st_mtime_ns
    mini.build()
    assert (mini.home / "pyvenv.cfg").stat().st_mtime_ns == stamp
    file = tmp_path / "look.py"
    file.write_text(
        "import sys, six\n"
        "from records.errors import BadInput\n"
        "def look():\n"
        "    try:\n"
        "        import torch\n"
        "    except ImportError:\n"
        "        return [six.__version__, sys.version_info[:2], sys.prefix]\n"
    )
    with mini.start(tmp_path / "worker.log", [file]) as worker:
        assert call(worker, file, "look") == ["1.17.0", [3, 11], str(mini.home)]


def test_an_environment_is_found_by_the_content_of_its_lock(mini: Toolchain) -> None:
    before = mini.home
    mini.lock.write_text(mini.lock.read_text() + "# changed\n")
    assert mini.home != before
    assert registry.find()["torch"].home == Path(sys.prefix)


def test_a_lock_whose_hash_does_not_match_is_not_installed(mini: Toolchain) -> None:
    mini.lock.write_text(re.sub(r"sha256:\w{8}", "sha256:00000000", mini.lock.read_text()))
    with pytest.raises(BadInput, match=r"toolchain mini: could not be built .*[Hh]ash.*anywhere doctor --fix"):
        mini.build()
    assert not mini.ready
    assert [path.name for path in mini.home.parent.iterdir() if path.is_dir()] == []


def test_every_lock_has_hashes_and_no_host() -> None:
    for chain in [*registry.find().values(), *registry.find(Path(__file__).parents[1] / "toolchains").values()]:
        text = chain.lock.read_text()
        assert "://" not in text, chain.name
        assert "file:" not in text, chain.name
        requirements = re.findall(r"^[A-Za-z0-9].*?(?=^[A-Za-z0-9]|\Z)", text, re.M | re.S)
        assert requirements
        assert all("==" in one and "--hash=sha256:" in one for one in requirements), chain.name


def test_a_cache_that_cannot_be_written_to_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = tmp_path / "cache"
    monkeypatch.setenv("ANYWHERE_CACHE", str(cache))
    remedy = "Make the cache folder writable, or set ANYWHERE_CACHE to another one"
    chain = next(chain for chain in registry.find().values() if not chain.own and not chain.needs)
    make = os.mkdir

    def closed(path: Path, *rest: int) -> None:
        if Path(path).is_relative_to(cache):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))
        make(path, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(os, "mkdir", closed)
        with pytest.raises(BadInput, match=rf"cache.*: cannot be written to \(Read-only file system\)\. {remedy}"):
            chain.build()
    cache.write_text("a file")
    with pytest.raises(BadInput, match=rf"{cache}.* is no folder.* {remedy}"):
        chain.build()


def test_a_log_on_a_full_disk_takes_no_answer_away(worker: Worker, jobs: Path) -> None:
    """`/dev/full` has no room for anything; the error is still told, with its number."""
    log = jobs.with_name("full.log")
    log.symlink_to("/dev/full")
    assert worker.call(jobs, "chatter", {}, log, 30).value == "done"
    with pytest.raises(WorkerFailed, match=r"OSError: .*No space left on device") as failed:
        worker.call(jobs, "full", {}, log, 30)
    assert failed.value.errno == errno.ENOSPC
    assert call(worker, jobs, "add", a=1, b=2) == 3
