"""Three tiers of tests, and what each leaves out. A plugin of pytest: pyproject.toml names it.

`make quick` runs what is neither `slow` nor `nightly` and starts no foreign world, `make test` all that is not
`nightly`, `make nightly` everything. Of a module, `FOREIGN` names its fixtures that start a toolchain: tests that ask
for one are slow.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from workers.toolchain import Toolchain
from workers.worker import Worker

TIERS = {"nightly": "make nightly", "slow": "make test"}
"""Marker → the target that runs such tests."""
LEFT_OUT: Counter[tuple[str, str]] = Counter()
"""(marker, file) → tests of it that this run leaves out."""
LONGEST = ("tests/test_readme.py", "tests/test_installed.py", "tests/validate/test_parity.py")
"""Files that take minutes, which go first, each into a lane of its own: at the end one lane would wait for them."""


def tier(item: pytest.Item) -> str:
    """The marker that says which target runs a test; empty: all of them."""
    return next((marker for marker in TIERS if item.get_closest_marker(marker)), "")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that ask for a foreign world are slow; and the longest files go first, lest a lane end with one alone."""
    for item in items:
        foreign = {"exported", *getattr(getattr(item, "module", None), "FOREIGN", ())}
        if foreign & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.slow)
    long = {item.location[0] for item in items if tier(item)}
    order = {file: place for place, file in enumerate(LONGEST)}
    items.sort(key=lambda item: (order.get(item.location[0], len(order)), item.location[0] not in long))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Let no test that `make quick` runs start a foreign world, its fixtures included."""
    start = Toolchain.start

    def refuse(chain: Toolchain, *arguments: Any, **options: Any) -> Worker:
        assert chain.own or not chain.ready, f"a worker in the toolchain {chain.name}: mark this test slow"
        return start(chain, *arguments, **options)

    with pytest.MonkeyPatch.context() as patch:
        if not tier(item):
            patch.setattr(Toolchain, "start", refuse)
        return (yield)


def pytest_deselected(items: Sequence[pytest.Item]) -> None:
    """Count them."""
    LEFT_OUT.update((tier(item), item.location[0]) for item in items)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Of a lane: tell the process that prints."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["left_out"] = [[*key, count] for key, count in LEFT_OUT.items()]


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Hear it; each lane leaves out the same, and one that crashed says nothing."""
    for marker, file, count in getattr(node, "workeroutput", {}).get("left_out", []):
        LEFT_OUT[marker, file] = count


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what was not run, and what runs it."""
    terminalreporter.section("left out")
    for marker in (*TIERS, ""):
        which = f"for `{TIERS[marker]}`" if marker else "not asked for"
        files = {file: count for (of, file), count in LEFT_OUT.items() if of == marker}
        if files:
            counted = ", ".join(f"{file} {count}" for file, count in sorted(files.items()))
            terminalreporter.line(f"{sum(files.values())} tests {which}: {counted}")
    if not LEFT_OUT:
        terminalreporter.line("nothing")
