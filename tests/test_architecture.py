"""The rules that hold the house up, read from the code."""

import ast
import json
import re
import sys
from pathlib import Path

import pytest

from export import toolchain

ROOT = Path(__file__).parents[1]
DOORS = {
    "pipeline": set[str](),
    "export": {"pipeline.checkpoint", "pipeline.errors", "pipeline.settings"},
    "validate": {
        "export.artifact",
        "export.check",
        "export.layers",
        "export.target",
        "export.tensorflow_graph",
        "export.toolchain",
    },
}
"""Room → the modules of other rooms it may import."""

WORKER_FILES = [
    *(ROOT / "export" / "targets").glob("*.py"),
    *(ROOT / "validate" / "runners").glob("*.py"),
    *(ROOT / "validate" / "layers").glob("*.py"),
    ROOT / "export" / "worker.py",
    ROOT / "validate" / "runner.py",
]


def imports(file: Path, top_level: bool = False) -> set[str]:
    """Modules a file imports, `from a import b` as `a` and `a.b`; those for type checkers alone left out."""
    tree = ast.parse(file.read_text())
    nodes = list(tree.body) if top_level else list(ast.walk(tree))
    hidden = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    found: set[str] = set()
    for node in nodes:
        if id(node) in hidden:
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        if isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


@pytest.mark.parametrize("room", DOORS)
def test_a_room_knows_the_previous_room_by_its_doors_only(room: str) -> None:
    for file in (ROOT / room).rglob("*.py"):
        for name in imports(file):
            other = name.partition(".")[0]
            if other in DOORS and other != room:
                allowed = DOORS[room]
                assert name in {other, *allowed} or name.rpartition(".")[0] in allowed, f"{file}: {name}"


def test_validate_imports_neither_torch_nor_tensorflow() -> None:
    for file in (ROOT / "validate").glob("*.py"):
        assert not {name.partition(".")[0] for name in imports(file)} & {"torch", "torchvision", "tensorflow"}, file


@pytest.mark.parametrize("file", WORKER_FILES, ids=lambda file: file.name)
def test_what_runs_in_a_toolchain_imports_what_its_lock_lists(file: Path) -> None:
    """Modules of the project included, which at their top level may import no more than that either."""
    name = "torch" if file.name in {"worker.py", "runner.py", "__init__.py"} else None
    if name is None:
        name = next(m[1] for m in re.finditer(r'^TOOLCHAIN = "(\w+)"', file.read_text(), re.M))
    locked = {
        line.partition("==")[0].replace("-", "_") for line in toolchain.find()[name].lock.read_text().splitlines()
    }
    locked |= {"google"} if "protobuf" in locked else set()  # a distribution may have another name than its module
    allowed = locked | set(sys.stdlib_module_names)
    seen: set[Path] = set()

    def follow(current: Path, top_level: bool) -> None:
        if current in seen:
            return
        seen.add(current)
        for module in imports(current, top_level):
            first = module.partition(".")[0]
            if first in DOORS:
                path = ROOT / Path(*module.split(".")).with_suffix(".py")
                if path.exists():
                    follow(path, top_level=True)
            else:
                assert first.lower() in allowed, f"{current}: {module} is not in the lock of {name}"

    follow(file, top_level=False)


@pytest.mark.parametrize("file", [*ROOT.glob("*/*.mjs"), *ROOT.glob("*/*/*.mjs")], ids=lambda file: file.name)
def test_javascript_imports_what_its_lock_lists(file: Path) -> None:
    text = file.read_text()
    chain = re.search(r'^export const TOOLCHAIN = "(\w+)"', text, re.M)
    locked = json.loads((toolchain.FOLDER / (chain[1] if chain else "web") / "package.json").read_text())
    named = re.findall(r'^import .*"([^"]+)";$', text, re.M) + re.findall(r'import\(["`]([^"`]+)["`]\)', text)
    for name in named:
        package = re.match(r"(@[^/]+/)?[^/$]+", name)
        assert package, name
        known = any(one.startswith(package[0]) for one in locked["dependencies"])
        assert name.startswith((".", "node:")) or known, f"{file}: {name}"


def test_the_worker_needs_the_standard_library_only() -> None:
    own = {"export", "export.memory"}
    found = imports(ROOT / "export" / "worker.py") - own | imports(ROOT / "export" / "memory.py")
    assert {name.partition(".")[0] for name in found} <= set(sys.stdlib_module_names)


def test_every_room_is_mirrored_by_its_tests() -> None:
    for room in DOORS:
        assert (ROOT / "tests" / room).is_dir()


def test_no_file_tells_where_it_was_written() -> None:
    for file in [*ROOT.glob("*.md"), *ROOT.glob("*.toml"), *(ROOT / "toolchains").rglob("*.txt")]:
        assert str(ROOT.parent) + "/" not in file.read_text(), file
