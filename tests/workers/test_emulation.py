"""A toolchain of another processor is told by its folder, needs programs that it names, and is missed by nothing."""

from pathlib import Path

import pytest

from records.errors import BadInput
from workers import registry
from workers.emulation import CPU, QEMU, Emulated
from workers.toolchain import Toolchain


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder where programs are found."""
    folder = tmp_path / "programs"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return folder


def put(folder: Path, name: str, script: str = "") -> None:
    (folder / name).write_text("#!/bin/sh\n" + script)
    (folder / name).chmod(0o755)


@pytest.fixture
def chain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Toolchain:
    monkeypatch.setenv("ANYWHERE_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "toolchains" / "other"
    folder.mkdir(parents=True)
    (folder / "requirements.in").touch()
    (folder / "requirements.txt").touch()
    (folder / "packages.txt").write_text("python3-minimal\n")
    return registry.find(folder.parent)["other"]


def test_its_kind_is_told_by_packages_txt_which_is_part_of_its_key(chain: Toolchain) -> None:
    assert isinstance(chain, Emulated)
    assert chain.optional
    before = chain.key
    (chain.folder / "packages.txt").write_text("python3-minimal libstdc++6\n")
    assert chain.key != before
    (chain.folder / "packages.txt").unlink()
    assert not registry.find(chain.folder.parent)["other"].optional


def test_a_program_that_is_not_there_is_named_with_its_package(chain: Toolchain, programs: Path) -> None:
    assert chain.missing == [QEMU, "apt-get"]
    said = f"toolchain other: {QEMU} is not on this machine. Get it: apt-get install qemu-user-static."
    with pytest.raises(BadInput, match=said):
        chain.build()
    with pytest.raises(BadInput, match=said):
        chain.start(programs / "log")
    assert not chain.home.parent.exists()


def test_a_package_that_debian_does_not_have_leaves_nothing_behind(chain: Toolchain, programs: Path) -> None:
    put(programs, QEMU)
    put(programs, "apt-get", "echo E: Unable to locate package python3-minimal >&2; exit 100\n")
    with pytest.raises(BadInput, match=r"could not be built .* E: Unable to locate package .*anywhere doctor --fix"):
        chain.build()
    assert not chain.ready
    assert [path.name for path in chain.home.parent.iterdir() if path.is_dir()] == []


def test_its_worker_starts_in_the_emulator_with_a_processor_it_gets_right(chain: Toolchain, programs: Path) -> None:
    put(programs, QEMU)
    command = chain.command(7, [])
    python = str(chain.home / "usr" / "bin" / "python3")
    assert command[:7] == [QEMU, "-cpu", CPU, "-L", str(chain.home), python, "-I"]
