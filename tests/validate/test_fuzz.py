"""Whatever a record holds, a command that reads it answers with a report or with one sentence: tests/fuzz.py."""

import contextlib
import shutil
from pathlib import Path

import pytest

from tests.fuzz import READ_BY, examine, made, told, wrong

GATE, NIGHTLY = 40, 500
"""Cases: twice as many as there are records and more; and what `make nightly` has time for."""


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs of which nothing is broken yet. Not to be written into: each case has links to its files."""
    return made(tmp_path_factory.mktemp("whole"))


@pytest.mark.parametrize(
    "seed", [pytest.param(seed, marks=[pytest.mark.nightly] * (seed >= GATE)) for seed in range(NIGHTLY)]
)
def test_a_broken_record_is_a_report_or_one_sentence(whole: Path, tmp_path: Path, seed: int) -> None:
    words, _, problem = examine(seed, whole, tmp_path / "work")
    assert not problem, f"{words}\n{problem}"


COMMANDS = list(dict.fromkeys(command for commands in READ_BY.values() for command in commands))


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_records_that_nobody_broke_are_read(whole: Path, tmp_path: Path, command: tuple[str, ...]) -> None:
    """So that the cases above are refused for what is wrong with them."""
    shutil.copytree(whole, tmp_path / "work")
    with contextlib.chdir(tmp_path / "work"):
        answer = told(command)
    assert answer.status != 2, answer.err
    assert not wrong(answer, command)
