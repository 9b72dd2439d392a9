"""torchvision's data sets, downloaded to `data.cache` once."""

from pathlib import Path
from typing import Any
from urllib.error import URLError

import torchvision

from pipeline.config import DataConfig
from pipeline.datasets import Pictures
from records.errors import BadInput


def downloaded(config: DataConfig, name: str, train: dict[str, Any], test: dict[str, Any]) -> Pictures:
    """Return the data set of that class in torchvision.datasets; train, test: its options. Raises BadInput."""
    sets = fetched(config, name, train, test)
    labels = [label[0] if isinstance(label, tuple) else str(label) for label in sets[0].classes]
    return Pictures(sets[0], sets[1], tuple(labels))


def fetched(config: DataConfig, name: str, *splits: dict[str, Any]) -> list[Any]:
    """Return each split of that class in torchvision.datasets, by its options. Raises BadInput."""
    kind = getattr(torchvision.datasets, name)
    root = Path(config.cache)
    try:
        return [_present_or_download(kind, root, options, config.download) for options in splits]
    except (URLError, OSError, RuntimeError) as error:
        reason = str(getattr(error, "reason", None) or error).splitlines()[0]
        raise BadInput(
            f"dataset {config.dataset}: could not be {'downloaded to' if config.download else 'read from'} {root}/ "
            f"({reason}). Connect to a network and try again, "
            f"or put torchvision's {name} files there."
        ) from error


def _present_or_download(kind: Any, root: Path, options: dict[str, Any], download: bool) -> Any:
    # Imagenette raises when asked to download what is there, the others do not: look first.
    try:
        return kind(root, **options)
    except RuntimeError:
        if not download:
            raise
        root.mkdir(parents=True, exist_ok=True)
        return kind(root, download=True, **options)
