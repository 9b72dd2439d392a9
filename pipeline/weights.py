"""Reads somebody's weights and proves that they were loaded: which file, which keys, how many of how many.

    loaded = load(model, Path("my.pt"))        # raises BadInput, with the first keys that do not fit
    loaded.told                                # "my.pt: 62 of 62 tensors; 'module.' was taken off"

Safetensors, or a state_dict that PyTorch reads with `weights_only=True`: neither can run anybody's code. Whoever wants
a pickle read as such says so (`trust`), and the checkpoint tells.
"""

import fnmatch
import itertools
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from records.errors import BadInput, shortened, some
from records.schema import check_schema, read_json
from records.sealed import sha256_of_file

PREFIXES = ("module.", "_orig_mod.", "model.", "ema_model.", "ema.", "net.", "network.", "student.", "teacher.")
"""What wrappers put before every key: DataParallel, torch.compile, Lightning, averages of weights. Any combination."""
COMPILED = "_orig_mod."
"""torch.compile's, which stands in the midst of a key where a part of the model was compiled."""
COUNTERS = ("n_averaged", "num_averaged")
"""Keys that averages of weights have beside them."""
DEPTH = 3
"""Prefixes at most, one before the other; and how deep a state_dict may lie in the dicts of a file."""
NUMBERS = ("float16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8", "bool")
"""Types of NumPy's scalars, such as a best accuracy that was saved beside the weights."""
NOT_WEIGHTS = {
    b"version https://git-lfs": "it is a pointer of Git LFS, not the file itself. Fetch it: git lfs pull",
    b"<!DOCTYPE": "it is a web page, not weights. Download the file itself",
    b"<html": "it is a web page, not weights. Download the file itself",
    b"\x89HDF": "it is a file of HDF5 (Keras?), not PyTorch's. Save a state_dict from PyTorch",
    b"\x93NUMPY": "it is one NumPy array, not weights by name. Save a state_dict from PyTorch",
}
"""First bytes of a file → what it is, and what to do."""


@dataclass(frozen=True)
class Index:
    """The file beside weights in several files that says which tensor is in which."""

    weight_map: Mapping[str, str]


@dataclass(frozen=True)
class Loaded:
    """The proof that weights were loaded into a model: what the checkpoint keeps of it."""

    file: str
    """The file's name, without its folder."""
    sha256: str
    tensors: int
    """How many of the model's tensors came from the file: all but those that are `new`, tied to others, or count steps.
    """
    of: int
    entry: str = ""
    """Where in the file they lay, `state_dict`; empty: it holds nothing else."""
    removed: str = ""
    """What was taken off every key, `module.`; empty: nothing."""
    left_out: tuple[str, ...] = ()
    """Keys of the file that the model does not have, and that nobody needs."""
    dtypes: tuple[str, ...] = ()
    """What floats were stored as: `float32`, `bfloat16`."""
    trusted: bool = False
    """True if the file was read as a pickle, which runs what stands in it."""
    new: tuple[str, ...] = ()
    """Tensors that the file has in another shape, and that a training starts anew: a head for other classes."""

    @property
    def told(self) -> str:
        """Return what was loaded in one sentence."""
        parts = [f"{self.file}: {self.tensors} of {self.of} tensors"]
        if self.entry:
            parts.append(f"from its {self.entry!r}")
        if self.removed:
            parts.append(f"{self.removed!r} was taken off every key")
        if self.left_out:
            parts.append(f"{len(self.left_out)} other keys were left out ({some(self.left_out)})")
        if self.new:
            parts.append(f"{len(self.new)} have another shape there and start anew ({some(self.new)})")
        if set(self.dtypes) - {"float32"}:
            parts.append(f"stored as {', '.join(self.dtypes)}")
        if self.trusted:
            parts.append("read as a PICKLE, which runs its code: you said --trust")
        return "; ".join(parts)

    def record(self) -> dict[str, Any]:
        """Return it as JSON can hold it."""
        return asdict(self)


def load(
    model: nn.Module,
    path: Path,
    trust: bool = False,
    ignore: Sequence[str] = (),
    entry: str = "",
    start: bool = False,
) -> Loaded:
    """Load a file's weights into a model, all of it or nothing. Raises BadInput.

    start: for a training: what has another shape in the file stays new. trust: read a pickle that `weights_only`
    refuses, running what stands in it. ignore: patterns of keys (`aux.*`) that the model need not have. entry: where in
    the file the weights lie, `model_ema`, if there are several.
    """
    content, trusted = read(path, trust)
    sets = {name: values for name, values in state_dicts(content).items() if not entry or name == entry}
    if not sets:
        held = ", ".join(state_dicts(content)) if entry else _described(content)
        raise BadInput(f"weights {path}: no tensors by name{f' in {entry!r}' if entry else ''}, but {held}. {_SAVE}")
    tensors = model.state_dict()
    fits = {name: _fitted(values, tensors, ignore, start) for name, values in sets.items()}
    best = max(fits, key=lambda name: (not fits[name].wrong, len(fits[name].values)))
    whole = [name for name, fit in fits.items() if not fit.wrong]
    if len(whole) > 1 and len({_hash(fits[name].values) for name in whole}) > 1:
        raise BadInput(f"weights {path}: {', '.join(whole)} all fit this model. Say which: --entry {whole[0]}.")
    fit = fits[best]
    if fit.wrong:
        raise BadInput(f"weights {path}: {fit.wrong}")
    put(model, fit.values)
    return Loaded(
        file=path.name,
        sha256=sha256_of_file(path) if path.is_file() else "",
        tensors=len(fit.values),
        of=len(tensors),
        entry=best,
        removed=fit.removed,
        left_out=tuple(fit.left_out),
        dtypes=tuple(
            sorted(
                {str(value.dtype).removeprefix("torch.") for value in fit.values.values() if value.is_floating_point()}
            )
        ),
        trusted=trusted,
        new=tuple(fit.new),
    )


def read(path: Path, trust: bool) -> tuple[Any, bool]:
    """Return what lies in a file of weights, and whether it was read as a pickle. Raises BadInput."""
    if path.is_dir():
        return _read_folder(path), False
    if not path.is_file():
        raise BadInput(f"weights {path}: no such file. Give the path of a state_dict: --weights FILE.")
    with path.open("rb") as file:
        first = file.read(64)
    for start, what in NOT_WEIGHTS.items():
        if first.startswith(start):
            raise BadInput(f"weights {path}: {what}.")
    if not first:
        raise BadInput(f"weights {path}: it is empty. Copy it again.")
    try:
        return _load_file(path), False
    except BadInput:
        if path.suffix == ".safetensors":
            raise
    return _read_pickle(path, trust)


def _read_folder(folder: Path) -> dict[str, torch.Tensor]:
    """Return the tensors of a folder of safetensors, one file or several with an index."""
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise BadInput(f"weights {folder}: no .safetensors in this folder. Give a file: --weights FILE.")
    index = next(iter(folder.glob("*.safetensors.index.json")), None)
    if index is not None:
        where, remedy = f"weights {folder}: {index.name}", "Copy it again."
        record = read_json(index, where, remedy)
        check_schema(Index, record, where, remedy)
        names = sorted(set(record["weight_map"].values()))
        if outside := [name for name in names if Path(name).name != name]:
            raise BadInput(f"weights {folder}: {index.name} names {shortened(outside[0])}, which lies elsewhere.")
        if missing := [name for name in names if not (folder / name).is_file()]:
            raise BadInput(f"weights {folder}: {missing[0]} is missing, which {index.name} names. Copy all of them.")
        files = [folder / name for name in names]
    return {name: value for file in files for name, value in _load_file(file).items()}


def _load_file(path: Path) -> dict[str, torch.Tensor]:
    """Return the tensors of a safetensors file. Raises BadInput."""
    try:
        return dict(load_file(path))
    except SafetensorError as error:
        raise BadInput(f"weights {path}: truncated or no safetensors ({shortened(error)}). Copy it again.") from error


SCALAR: Any = np.float64().__reduce__()[0]
"""The function by which NumPy reads a scalar."""


class Bare:
    """Stands for an object that only keeps attributes, such as `argparse.Namespace`."""


HARMLESS: tuple[tuple[Any, str], ...] = (
    *(
        (OrderedDict, name)  # a dict with a class of its own, whose code is not needed
        for name in (
            "lightning.fabric.utilities.data.AttributeDict",
            "lightning_fabric.utilities.data.AttributeDict",
            "pytorch_lightning.utilities.parsing.AttributeDict",
        )
    ),
    (Bare, "argparse.Namespace"),
    (Bare, "types.SimpleNamespace"),
    *((PurePosixPath, f"pathlib.{kind}") for kind in ("PosixPath", "PurePosixPath")),
    *((PurePosixPath, f"pathlib._local.{kind}") for kind in ("PosixPath", "PurePosixPath")),
    (PureWindowsPath, "pathlib.WindowsPath"),
    (np.dtype, "numpy.dtype"),
    *((SCALAR, f"numpy.{room}.multiarray.scalar") for room in ("core", "_core")),
    *((type(np.dtype(kind)), f"numpy.dtypes.{type(np.dtype(kind)).__name__}") for kind in NUMBERS),
)
"""What stands beside weights in many files and does nothing when it is read → its name in a pickle."""


def _read_pickle(path: Path, trust: bool) -> tuple[Any, bool]:
    try:
        with torch.serialization.safe_globals(list(HARMLESS)):
            return torch.load(path, map_location="cpu", weights_only=True), False
    except Exception as error:
        reason = " ".join(str(error).split())
        if not _is_refusal(error):
            raise BadInput(f"weights {path}: truncated, or no file of PyTorch's ({_short(error)}). {_SAVE}") from error
        if not trust:
            raise BadInput(
                f"weights {path}: {_pickled(reason)}, and reading that would run its code. {_SAVE} Or, if you trust "
                "whoever made it, add --trust."
            ) from error
    try:
        content = torch.load(path, map_location="cpu", weights_only=False)
    except Exception as error:
        raise BadInput(f"weights {path}: cannot be unpickled ({_short(error)}). {_SAVE}") from error
    return content.state_dict() if isinstance(content, nn.Module) else content, True


_SAVE = "Save the weights alone: torch.save(model.state_dict(), FILE)."


def _is_refusal(error: Exception) -> bool:
    """True if a file is a pickle that wants more than tensors; False if it cannot be read at all."""
    text = str(error)
    return "Unsupported global" in text or "Unsupported class" in text or "TorchScript archive" in text


def _pickled(reason: str) -> str:
    if "TorchScript" in reason:
        return "it is TorchScript, a program with its weights"
    names = [reason.partition(word)[2].partition(" ")[0] for word in ("GLOBAL ", "Unsupported class ")]
    name = next((name for name in names if name), "")
    return f"it is a pickle that holds {name or 'objects'}, not only tensors"


def _short(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:120]}"


def state_dicts(content: Any, place: str = "", depth: int = DEPTH) -> dict[str, Mapping[str, torch.Tensor]]:
    """Return every mapping of names to tensors in what a file holds, by where it lies: `state_dict`, `ema.model`."""
    if not isinstance(content, Mapping) or depth < 0:
        return {}
    tensors = {str(key): value for key, value in content.items() if isinstance(value, torch.Tensor)}
    if tensors and len(tensors) * 2 > len(content):
        return {place: tensors}
    return {
        name: values
        for key, value in content.items()
        for name, values in state_dicts(value, f"{place}.{key}" if place else str(key), depth - 1).items()
    }


@dataclass(frozen=True)
class Fit:
    """How a file's keys fit a model's."""

    values: Mapping[str, torch.Tensor]
    removed: str
    left_out: Sequence[str]
    wrong: str
    """What does not fit, and what to do; empty: all does."""
    new: Sequence[str] = ()
    """Tensors of the model that are not loaded, for the file has them in another shape."""


def _fitted(
    values: Mapping[str, torch.Tensor], tensors: Mapping[str, torch.Tensor], ignore: Sequence[str], start: bool
) -> Fit:
    """Return the fit by the prefix with which most keys are the model's; the shortest, if several have as many."""
    own = {name.replace(COMPILED, ""): name for name in tensors}
    prefixes = sorted({"", *_prefixes(values)}, key=len)
    keys = {prefix: _without(values, prefix) for prefix in prefixes}
    removed = max(prefixes, key=lambda prefix: (len(keys[prefix].keys() & own.keys()), -len(prefix)))
    common = {own[name]: values[key] for name, key in keys[removed].items() if name in own}
    left = [key for key in values if key not in {key for name, key in keys[removed].items() if name in own}]
    new = [name for name, value in common.items() if start and value.shape != tensors[name].shape]
    wrong = _wrong(common, left, removed, {key: tensors[key] for key in tensors if key not in new}, values, ignore)
    common = {name: value for name, value in common.items() if name not in new}
    compiled = any(COMPILED in key.removeprefix(removed) for key in keys[removed].values())
    return Fit(common, removed + COMPILED * compiled, left, wrong, new)


def _prefixes(keys: Iterable[str]) -> set[str]:
    """Return the combinations of `PREFIXES` that keys begin with."""
    found: set[str] = set()
    for key in itertools.islice(keys, 2000):
        start, rest = "", key
        for _ in range(DEPTH):
            part = next((prefix for prefix in PREFIXES if rest.startswith(prefix)), "")
            if not part:
                break
            start, rest = start + part, rest.removeprefix(part)
            found.add(start)
    return found


def _without(keys: Iterable[str], prefix: str) -> dict[str, str]:
    """Return keys that begin with a prefix, without it and without torch.compile's in the midst → as they are."""
    return {key.removeprefix(prefix).replace(COMPILED, ""): key for key in keys if key.startswith(prefix)}


def _wrong(
    common: Mapping[str, torch.Tensor],
    left: Sequence[str],
    removed: str,
    tensors: Mapping[str, torch.Tensor],
    values: Mapping[str, torch.Tensor],
    ignore: Sequence[str],
) -> str:
    """Return what of a file does not fit a model, and what to do; empty: every tensor has its value."""
    if not common:
        return (
            f"none of its {len(values)} keys is the model's: it has {some(list(values))}, the model "
            f"{some(list(tensors))}. Give the weights of this very model."
        )
    shapes = [
        f"{name} {tuple(value.shape)} for {tuple(tensors[name].shape)}"
        for name, value in common.items()
        if name in tensors and value.shape != tensors[name].shape
    ]
    loaded = {tensors[name].untyped_storage().data_ptr() for name in common if name in tensors}
    missing = [
        name
        for name, value in tensors.items()
        if name not in common
        and not name.endswith("num_batches_tracked")
        and value.untyped_storage().data_ptr() not in loaded  # tied to one that is there
    ]
    # What lies under another prefix is another part of what was trained, such as a loss; the model is whole without.
    needless = [key for key in left if not key.startswith(removed) or key in COUNTERS] if removed else list(COUNTERS)
    unexpected = [
        key for key in left if key not in needless and not any(fnmatch.fnmatch(key, pattern) for pattern in ignore)
    ]
    parts = [
        f"{len(items)} {what} ({some(items)})"
        for what, items in (
            ("tensors have another shape", shapes),
            ("of the model are not in the file", missing),
            ("of the file are not in the model", unexpected),
        )
        if items
    ]
    if not parts:
        return ""
    remedy = "Build the model as it was trained, for example with --option num_classes=N"
    if unexpected and not shapes and not missing:
        remedy += f', or leave them out: --ignore "{unexpected[0].partition(".")[0]}*"'
    return f"{len(common)} of {len(tensors)} tensors fit; {', '.join(parts)}. {remedy}."


def _hash(values: Mapping[str, torch.Tensor]) -> int:
    return hash(tuple((name, float(value.double().sum())) for name, value in sorted(values.items())))


def _described(content: Any) -> str:
    if isinstance(content, Mapping):
        return f"a dict of {some([str(key) for key in content])}"
    return f"a {type(content).__name__}"


def put(model: nn.Module, values: Mapping[str, torch.Tensor]) -> None:
    """Write values into a model's tensors of these names, in the model's type; the others stay.

    They go into the module's own state_dict, which has versions beside the tensors: torchvision's MNASNet refuses one
    without.
    """
    state = model.state_dict()
    for name, value in values.items():
        state[name] = value
    model.load_state_dict(state)
