"""What a target is, and which there are: a target is a file in `export/targets/`, found and read, never imported here.

    TOOLCHAIN = "torch"                                      # whose environment runs the file
    SOURCES = {"float32": "checkpoint", "int8": "onnx/float32"}   # precision → what it is converted from
    ENVIRONMENT = {"TF_ENABLE_ONEDNN_OPTS": "0"}             # variables its worker is started with
    TASKS = ["detection"]                                    # of whose models it is made; none: of all

    def convert(source: Path, checkpoint: Path, precision: str, out: Path) -> dict: ...

`convert` writes its files into the empty folder `out` and returns {"entry": file or folder to load} and, if needed,
"findings": sentences for the user, "details": facts for the manifest, "inputs" and "outputs": tensors that differ from
the checkpoint's; export/converted.py checks all of it. It may import only the standard library, what its toolchain's
lock lists, and modules of the project that do the same.
"""

import ast
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from records.constants import constants
from records.errors import BadInput, unknown

FOLDER = Path(__file__).parent / "targets"
ROOT = FOLDER.parents[1]
CHECKPOINT = "checkpoint"


@dataclass(frozen=True)
class Workplace:
    """What a worker is started with: targets for which it is the same share one."""

    toolchain: str
    environment: tuple[tuple[str, str], ...]
    """Variables by name."""

    @classmethod
    def of(cls, toolchain: str, environment: Mapping[str, str]) -> "Workplace":
        """Return it for these variables, in whatever order they are named."""
        return cls(toolchain, tuple(sorted(environment.items())))


@dataclass(frozen=True)
class Target:
    """A format the checkpoint can become."""

    name: str
    file: Path
    toolchain: str
    sources: Mapping[str, str]
    """Precision → "checkpoint" or the name of another conversion."""
    limit_s: float
    """Seconds one conversion may take."""
    keeps_float: tuple[str, ...]
    """Precisions that can leave single layers in float32."""
    keeps_16: tuple[str, ...] = ()
    """Precisions that can give single layers activations of 16 bits."""
    options: tuple[str, ...] = ()
    """Switches of `convert` that a user can set."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Variables its worker is started with."""
    instead: Mapping[str, str] = field(default_factory=dict)
    """Precision → the one to try where that fails."""
    tasks: tuple[str, ...] = ()
    """Tasks of whose models it is made; none: of all."""

    def takes(self, task: str) -> bool:
        """True if it is made of models of a task; empty: of a task that nobody named."""
        return not self.tasks or task in self.tasks

    @property
    def workplace(self) -> Workplace:
        """Return what its worker is started with."""
        return Workplace.of(self.toolchain, self.environment)


@dataclass(frozen=True)
class Conversion:
    """One precision of one target."""

    target: Target
    precision: str

    @property
    def name(self) -> str:
        """Return its name, `onnx/int8`: also the artifact's folder in the run's `artifacts/`."""
        return f"{self.target.name}/{self.precision}"

    @property
    def source(self) -> str:
        """Return "checkpoint" or the name of the conversion it builds upon."""
        return self.target.sources[self.precision]


def code(file: Path) -> list[Path]:
    """Return the files that decide what a target makes, sorted.

    They are its own file, the modules of the project that it imports at any depth, and the lists in graphs/.
    """
    files, waiting = {*FOLDER.parent.glob("graphs/*.txt"), *FOLDER.parent.glob("graphs/*.json")}, [file]
    while waiting:
        current = waiting.pop()
        if current not in files:
            files.add(current)
            waiting += _imported(current)
    return sorted(files)


@cache
def _imported(file: Path) -> list[Path]:
    """Return the modules of the project that a file imports, as files."""
    names = []
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    paths = [ROOT / f"{name.replace('.', '/')}.py" for name in names]
    return [path for path in paths if path.is_file()] + [file for name in names for file in _registry(name)]


def _registry(name: str) -> list[Path]:
    """Return the files of a package that loads its modules by their names; none: it is no such package."""
    folder = ROOT / name.replace(".", "/")
    registry = folder / "__init__.py"
    is_registry = registry.is_file() and "import pkgutil" in registry.read_text(encoding="utf-8")
    return sorted(folder.glob("*.py")) if is_registry else []


def find(folder: Path = FOLDER) -> dict[str, Target]:
    """Return every target by name."""
    files = [file for file in sorted(folder.glob("*.py")) if file.stem != "__init__"]
    return {file.stem: _read(file) for file in files}


def _read(file: Path) -> Target:
    values = constants(file)
    return Target(
        file.stem,
        file,
        values["TOOLCHAIN"],
        values["SOURCES"],
        float(values.get("LIMIT_S", 900)),
        tuple(values.get("KEEPS_FLOAT", [])),
        tuple(values.get("KEEPS_16", [])),
        tuple(values.get("OPTIONS", [])),
        values.get("ENVIRONMENT", {}),
        values.get("INSTEAD", {}),
        tuple(values.get("TASKS", [])),
    )


def plan(
    targets: Mapping[str, Target], to: Iterable[str] = (), precisions: Iterable[str] = (), task: str = ""
) -> list[Conversion]:
    """Return the conversions asked for and those they build upon, each after its source. Raises BadInput.

    Empty `to` or `precisions`: all of them that are made of models of the task. A target that has none of the
    precisions is left out, unless that leaves nothing.
    """
    to, precisions = list(to), list(precisions)
    all_precisions = {precision for target in targets.values() for precision in target.sources}
    for name in to:
        if name not in targets:
            raise unknown("target", name, targets)
        if not targets[name].takes(task):
            tasks = " and ".join(targets[name].tasks)
            raise BadInput(f"target {name}: is for {tasks}, not {task or 'any task'}. Leave it out.")
    for name in precisions:
        if name not in all_precisions:
            raise unknown("precision", name, all_precisions)
    chosen = []
    able = [name for name, target in targets.items() if target.takes(task)]
    for target in (targets[name] for name in to or able):
        offered = [precision for precision in target.sources if not precisions or precision in precisions]
        chosen += [Conversion(target, precision) for precision in offered]
    if not chosen:
        offers = "; ".join(f"{name} has {', '.join(targets[name].sources)}" for name in to)
        raise BadInput(f"nothing to convert: none of {', '.join(to)} has {' or '.join(precisions)}. {offers}.")
    ordered: dict[str, Conversion] = {}
    for conversion in chosen:
        _add(conversion, targets, ordered)
    return list(ordered.values())


def _add(conversion: Conversion, targets: Mapping[str, Target], ordered: dict[str, Conversion]) -> None:
    if conversion.source != CHECKPOINT:
        name, _, precision = conversion.source.partition("/")
        _add(Conversion(targets[name], precision), targets, ordered)
    ordered.setdefault(conversion.name, conversion)
