"""Whose code a training would run: its configuration may name any module as the model, and building it imports that.

    remember(config, place)                    # a training that is started here, as its user typed it
    check(config, place, trust=False)          # raises BadInput where a run from elsewhere names code

What a user types is theirs. What a run's own `config.toml` names is somebody's, unless this user started that very
training in that very folder; the cache folder keeps which.
"""

import hashlib
from contextlib import suppress
from pathlib import Path

from pipeline import libraries
from pipeline.config import Config, to_toml
from records.errors import BadInput, shortened
from workers.toolchain import cache_folder

OWN_CODE = (libraries.OWN, "lightning")
"""Libraries whose models are in modules that a spelling names; the others build models of their own."""


def code_of(config: Config) -> str:
    """Return what code or pickle of others a configuration's model names, `nets` of `nets:build`; empty: none.

    An option that is a text may be the path of a file that timm or transformers reads: `checkpoint_path`.
    """
    library, name = libraries.parse(config.model.name) if ":" in config.model.name else ("", "")
    if library in OWN_CODE:
        return name.rpartition(":")[0] or name
    texts = {key: value for key, value in config.model.options.items() if isinstance(value, str)}
    return next((f"{key} = {value}" for key, value in texts.items()), "") if library else ""


def remember(config: Config, place: Path) -> None:
    """Keep that this user started this training in this folder, for `--resume` to go on without a question."""
    if code_of(config):
        with suppress(OSError):  # a cache folder that cannot be written to costs a --trust later, not this training
            mark = _mark(config, place)
            mark.parent.mkdir(parents=True, exist_ok=True)
            mark.touch()


def check(config: Config, place: Path, trust: bool, command: str) -> None:
    """Check that a configuration out of a run names no code of others. Raises BadInput.

    place: the run's folder. trust: whether the user says that they trust it. command: what to type then.
    """
    code = code_of(config)
    if code and not trust and not _mark(config, place).exists():
        raise BadInput(
            f"run {place.name}: its configuration names {shortened(code)} (model {shortened(config.model.name)}), "
            f"which training would read and run, and it was not you who started it in {place}. If you trust whoever "
            f"made it: {command}."
        )


def _mark(config: Config, place: Path) -> Path:
    """Return the file that is there if a training was started."""
    text = f"{place.resolve()}\n{to_toml(config)}"
    return cache_folder() / "started" / hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
