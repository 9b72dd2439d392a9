"""The rules that hold the house up, read from the code."""

import ast
import json
import re
import sys
from pathlib import Path

import pytest

from export.target import code
from records.constants import constants
from workers import registry

ROOT = Path(__file__).parents[1]
GROUND = {"records": set[str](), "workers": {"records"}, "measures": {"records"}}
"""Rooms that know no format and no stage → the ground rooms they may import."""
DOORS = {
    "pipeline": {
        "pipeline.adopt",
        "pipeline.checkpoint",
        "pipeline.detectors.captured",
        "pipeline.further",
        "pipeline.oracle",
        "pipeline.otherwise",
        "pipeline.program",
    },
    "export": {
        "export.artifact",
        "export.convert",
        "export.graphs.layers",
        "export.graphs.operators",
        "export.graphs.stopped",
        "export.graphs.tensorflow",
        "export.interfaces",
        "export.run",
        "export.target",
    },
    "validate": set[str](),
}
"""Storeys, each above the one before it → the modules that a higher one may import."""
ROOMS = [*GROUND, *DOORS]

JAVASCRIPT = [file for room in ROOMS for file in (ROOT / room).rglob("*.mjs")]
WORKER_FILES = [
    *(ROOT / "export" / "targets").glob("*.py"),
    *(ROOT / "validate" / "runtimes" / "runners").glob("*.py"),
    *(ROOT / "validate" / "localise" / "readers").glob("*.py"),
    ROOT / "workers" / "inside.py",
    ROOT / "validate" / "reference.py",
    ROOT / "validate" / "runtimes" / "runner.py",
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


def of_room(name: str) -> str:
    """The room a module is in; empty: it is not the project's, or the command itself."""
    room = name.partition(".")[0]
    return room if room in ROOMS else ""


def file_of(module: str) -> Path | None:
    """Where a module of the project lies; None: it is none, or a package."""
    path = ROOT / Path(*module.split(".")).with_suffix(".py")
    return path if of_room(module) and path.is_file() else None


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_knows_the_ground_and_the_doors_of_the_storeys_below(room: str) -> None:
    storeys = list(DOORS)
    below = storeys[: storeys.index(room)] if room in DOORS else []
    doors = {door for storey in below for door in DOORS[storey]}
    ground = GROUND.get(room, set(GROUND))
    for file in (ROOT / room).rglob("*.py"):
        for name in imports(file):
            other = of_room(name)
            if other and other != room and other not in ground:
                assert name == other or name in doors or name.rpartition(".")[0] in doors, f"{file}: {name}"


def test_a_door_is_used() -> None:
    """One that nobody outside opens is a wall."""
    used = {
        name
        for room in ROOMS
        for file in (ROOT / room).rglob("*.py")
        for name in imports(file)
        if of_room(name) != room
    }
    assert {door for doors in DOORS.values() for door in doors} <= used


def test_what_is_imported_is_defined_there() -> None:
    """Nothing is handed on: a name comes from the module that it lives in."""
    for room in ROOMS:
        for file in (ROOT / room).rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text())):
                source = file_of(node.module or "") if isinstance(node, ast.ImportFrom) else None
                if source is None or not isinstance(node, ast.ImportFrom):
                    continue
                handed = {
                    alias.asname or alias.name
                    for other in ast.walk(ast.parse(source.read_text()))
                    if isinstance(other, ast.ImportFrom)
                    for alias in other.names
                }
                assert not handed & {alias.name for alias in node.names}, f"{file} takes it from {source}"


def test_no_module_imports_itself_by_way_of_others() -> None:
    edges = {}
    for room in ROOMS:
        for file in (ROOT / room).rglob("*.py"):
            module = ".".join(file.relative_to(ROOT).with_suffix("").parts)
            edges[module] = {name for name in imports(file) if file_of(name)} - {module}
    while leaves := {module for module, known in edges.items() if not known & edges.keys()}:
        edges = {module: known for module, known in edges.items() if module not in leaves}
    assert edges == {}


def test_validate_imports_neither_torch_nor_tensorflow() -> None:
    for file in (ROOT / "validate").rglob("*.py"):
        if file in WORKER_FILES:
            continue
        assert not {name.partition(".")[0] for name in imports(file)} & {"torch", "torchvision", "tensorflow"}, file


@pytest.mark.parametrize("file", WORKER_FILES, ids=lambda file: file.name)
def test_what_runs_in_a_toolchain_imports_what_its_lock_lists(file: Path) -> None:
    """Modules of the project included, which at their top level may import no more than that either."""
    name = "torch" if file.name in {"inside.py", "runner.py", "__init__.py"} else None
    if name is None:
        name = next(m[1] for m in re.finditer(r'^TOOLCHAIN = "(\w+)"', file.read_text(), re.M))
    locked = {line.partition("==")[0].replace("-", "_") for line in registry.find()[name].lock.read_text().splitlines()}
    locked |= {"google"} if "protobuf" in locked else set()  # a distribution may have another name than its module
    locked |= {"pil"} if "pillow" in locked else set()
    allowed = locked | set(sys.stdlib_module_names)
    seen: set[Path] = set()

    def follow(current: Path, top_level: bool) -> None:
        if current in seen:
            return
        seen.add(current)
        for module in imports(current, top_level):
            first = module.partition(".")[0]
            if first in ROOMS:
                path = ROOT / Path(*module.split(".")).with_suffix(".py")
                if path.exists():
                    follow(path, top_level=True)
            else:
                assert first.lower() in allowed, f"{current}: {module} is not in the lock of {name}"

    follow(file, top_level=False)


@pytest.mark.parametrize("room", ["export", "validate", "workers"])
def test_no_module_changes_the_environment(room: str) -> None:
    """A worker is started with its variables, so that no import has to come before another."""
    for file in (ROOT / room).rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            assert not changes_environment(node), f"{file}:{getattr(node, 'lineno', 0)}: name it in ENVIRONMENT instead"


def changes_environment(node: ast.AST) -> bool:
    """Whether `os.environ`, under any name of os, is assigned to or has a method called that changes it."""
    if isinstance(node, ast.ImportFrom) and node.module == "os":
        return bool({alias.name for alias in node.names} & {"environ", "putenv", "unsetenv"})
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        changing = {"update", "setdefault", "pop", "popitem", "clear"}
        called = node.func.value.attr if isinstance(node.func.value, ast.Attribute) else ""
        return node.func.attr in {"putenv", "unsetenv"} or (called == "environ" and node.func.attr in changing)
    attribute = node.value if isinstance(node, ast.Subscript) else node
    return (
        isinstance(attribute, ast.Attribute)
        and attribute.attr == "environ"
        and isinstance(getattr(node, "ctx", None), ast.Store | ast.Del)
    )


@pytest.mark.parametrize(
    "line",
    [
        "os.environ |= {}", "os.environ['A'] = '1'", "del os.environ['A']", "os.environ.setdefault('A', '1')",
        "os.environ.update(A='1')", "os.putenv('A', '1')", "from os import environ",
    ],
)  # fmt: skip
def test_a_change_of_the_environment_is_seen(line: str) -> None:
    assert any(map(changes_environment, ast.walk(ast.parse(line))))
    harmless = "os.environ['A']; os.environ.get('A'); {**os.environ}; chain.environment.update(A='1')"
    assert not any(map(changes_environment, ast.walk(ast.parse(harmless))))


@pytest.mark.parametrize("file", [*WORKER_FILES, *JAVASCRIPT], ids=lambda file: file.name)
def test_variables_are_read_without_importing(file: Path) -> None:
    """What is no literal would not be read, and nobody would notice."""
    values = constants(file)
    assert bool(re.search(r"^(export const )?ENVIRONMENT\b", file.read_text(), re.M)) == ("ENVIRONMENT" in values)
    variables = values.get("ENVIRONMENT", {})
    backends = [variables[name] for name in values.get("BACKENDS", []) if name in variables] or [variables]
    assert all(isinstance(value, str) for one in backends for value in one.values())


def test_who_takes_saved_models_in_hand_does_so_without_onednn() -> None:
    tools = ROOT / "export" / "graphs" / "tensorflow.py"
    users = [file for file in WORKER_FILES if tools in code(file)]
    assert len(users) >= 4
    for file in users:
        assert constants(file)["ENVIRONMENT"]["TF_ENABLE_ONEDNN_OPTS"] == "0", file


@pytest.mark.parametrize("file", JAVASCRIPT, ids=lambda file: file.name)
def test_javascript_imports_what_its_lock_lists(file: Path) -> None:
    text = file.read_text()
    chain = re.search(r'^export const TOOLCHAIN = "(\w+)"', text, re.M)
    locked = json.loads((registry.FOLDER / (chain[1] if chain else "web") / "package.json").read_text())
    named = re.findall(r'^import .*"([^"]+)";$', text, re.M) + re.findall(r'import\(["`]([^"`]+)["`]\)', text)
    for name in named:
        package = re.match(r"(@[^/]+/)?[^/$]+", name)
        assert package, name
        known = any(one.startswith(package[0]) for one in locked["dependencies"])
        assert name.startswith((".", "node:")) or known, f"{file}: {name}"


def test_the_worker_needs_the_standard_library_only() -> None:
    own = {"workers", "workers.memory"}
    found = imports(ROOT / "workers" / "inside.py") - own | imports(ROOT / "workers" / "memory.py")
    assert {name.partition(".")[0] for name in found} <= set(sys.stdlib_module_names)


def test_every_room_is_mirrored_by_its_tests() -> None:
    for room in ROOMS:
        assert (ROOT / "tests" / room).is_dir()


def without_encoding(node: ast.AST) -> bool:
    """Whether a call opens a file, or another process, as text in whatever encoding this machine has."""
    if not isinstance(node, ast.Call) or any(keyword.arg == "encoding" for keyword in node.keywords):
        return False
    name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    if name in {"open", "fdopen"}:
        modes = [argument.value for argument in node.args if isinstance(argument, ast.Constant)]
        return any(re.fullmatch(r"[rwax+]+t?", str(mode)) for mode in modes)
    return name in {"read_text", "write_text"} or any(keyword.arg == "text" for keyword in node.keywords)


def test_every_text_names_its_encoding() -> None:
    """Where the machine's own is ASCII (`LC_ALL=C`), nothing else is read or written."""
    files = [ROOT / "anywhere.py", *(file for room in ROOMS for file in (ROOT / room).rglob("*.py"))]
    for file in files:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            assert not without_encoding(node), f'{file}:{getattr(node, "lineno", 0)}: say encoding="utf-8"'


@pytest.mark.parametrize(
    "line",
    ["path.read_text()", "path.write_text(text)", "path.open('w')", "open(path, 'r')", "os.fdopen(pipe, 'w')",
     "subprocess.run(command, text=True)", "path.read_text(errors='replace')"],
)  # fmt: skip
def test_a_text_without_encoding_is_seen(line: str) -> None:
    assert any(map(without_encoding, ast.walk(ast.parse(line))))
    harmless = "path.open('rb'); Run.open(name); Artifact.open(folder); path.read_text(encoding='utf-8')"
    assert not any(map(without_encoding, ast.walk(ast.parse(harmless))))


def test_no_file_tells_where_it_was_written() -> None:
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]
    for file in [*pages, *ROOT.glob("*.toml"), *(ROOT / "toolchains").rglob("*.txt")]:
        assert str(ROOT.parent) + "/" not in file.read_text(), file
