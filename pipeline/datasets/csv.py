"""Your own images by a list: a CSV of paths and classes, and a third column `split` with train and val if you like."""

from pathlib import Path

from pipeline.config import DataConfig
from pipeline.datasets import Pictures
from pipeline.listed import pictures_of, read_csv
from records.errors import BadInput

TASKS = ("classification",)
IMAGE_SIZE = 224
AUGMENTATION = "resized_crop"
CROP = True


def read(config: DataConfig, task: str) -> Pictures:
    """Return the images that the CSV `data.folder` names, each of which can be decoded. Raises BadInput."""
    place = Path(config.folder)
    if not config.folder or not place.is_file():
        raise BadInput(f"data.folder {config.folder or 'is empty'}: no such CSV. Give --folder list.csv.")
    where = f"dataset csv {place}"
    rows = read_csv(place, where)
    if unnamed := [row for row in rows if not row.label]:
        raise BadInput(
            f"{where}: {len(unnamed)} of its {len(rows)} files have no class, the first {unnamed[0].file}. Write it "
            "behind the path and a comma."
        )
    return pictures_of(rows, sorted({row.label for row in rows}), where, config)
