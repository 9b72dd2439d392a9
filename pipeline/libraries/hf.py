"""A folder of Hugging Face's, `hf:./my-vit`: config.json, preprocessor_config.json and safetensors; nothing else runs.

The folder's own code is never run (`trust_remote_code` stays off), and its weights are loaded and proved as anybody's.
"""

import hashlib
from pathlib import Path
from typing import Any

from torch import nn

from pipeline.libraries import Built, Declared, Options
from pipeline.weights import Loaded
from records.errors import BadInput, some
from records.schema import read_json
from records.sealed import sha256_of_file

NEEDS = "transformers"
KINDS = ("missing_keys", "unexpected_keys", "mismatched_keys", "error_msgs")
"""What transformers says about weights that do not fit."""
RESAMPLES = {0: "nearest", 2: "bilinear", 3: "bicubic"}
"""Pillow's numbers of interpolations, as preprocessor_config.json has them."""


def build(name: str, options: Options, weights: Path | None) -> Built:
    """Return the image model that a folder describes, with the weights that lie there. Raises BadInput."""
    import transformers

    transformers.utils.logging.disable_progress_bar()
    folder = Path(name).expanduser()
    if not (folder / "config.json").is_file():
        raise BadInput(f"model hf:{name}: no config.json in {folder.absolute()}. Give a folder of save_pretrained.")
    try:
        config = transformers.AutoConfig.from_pretrained(folder, trust_remote_code=False, **options)
        kind = (getattr(config, "architectures", None) or [""])[0]
        constructor = getattr(transformers, kind, None)
        if constructor is None:
            raise BadInput(
                f"model hf:{name}: transformers {transformers.__version__} knows no {kind or 'architecture'}. Its own "
                "code is never run: give the module itself, package.module:Class."
            )
        module, loaded = (constructor(config), None) if weights else _with_weights(constructor, config, folder)
    except BadInput:
        raise
    except Exception as error:
        reason = " ".join(str(error).split())[:300]
        raise BadInput(f"model hf:{name}: cannot be built ({type(error).__name__}: {reason}). Mend it.") from error
    labels = getattr(config, "id2label", None) or {}
    return Built(
        module,
        _declared(folder / "preprocessor_config.json"),
        tuple(str(labels[key]) for key in sorted(labels, key=int)),
        loaded=loaded,
    )


def _with_weights(constructor: Any, config: Any, folder: Path) -> tuple[nn.Module, Loaded]:
    """Return a model with the folder's safetensors, as transformers maps their names. Raises BadInput."""
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise BadInput(
            f"model hf:{folder}: no .safetensors in it, and a pickle is not read unasked. Save it again with "
            "save_pretrained, or give --weights FILE."
        )
    module, report = constructor.from_pretrained(
        folder, config=config, use_safetensors=True, local_files_only=True, output_loading_info=True, dtype="float32"
    )
    wrong = {kind: sorted(map(str, report[kind])) for kind in KINDS if report.get(kind)}
    if wrong:
        told = "; ".join(f"{len(keys)} {kind.replace('_', ' ')} ({some(keys)})" for kind, keys in wrong.items())
        raise BadInput(f"model hf:{folder}: its weights do not fit its configuration: {told}. Save it again.")
    state = module.state_dict()
    hashes = "".join(sha256_of_file(file) for file in files)
    return module, Loaded(
        file=", ".join(file.name for file in files),
        sha256=hashes if len(files) == 1 else hashlib.sha256(hashes.encode()).hexdigest(),
        tensors=len(state),
        of=len(state),
    )


def _declared(path: Path) -> Declared | None:
    """Return the preparation in a preprocessor_config.json; None: there is none."""
    if not path.is_file():
        return None
    remedy = "Save it again with save_pretrained."
    values = read_json(path, str(path), remedy)
    if not isinstance(values, dict):
        raise BadInput(f"{path}: holds a {type(values).__name__}, no preparation. {remedy}")
    size, crop = _size(values.get("size")), _size(values.get("crop_size"))
    cropped = crop if values.get("do_center_crop") else None
    share = values.get("crop_pct")
    if share and size and cropped is None and size[0] < 384:  # ConvNeXt's: the size is the crop's
        cropped, size = size, (round(size[0] / share), round(size[1] / share))
    normalised = values.get("do_normalize", True)
    return Declared(
        size=cropped or size,
        resize=size if cropped else None,
        interpolation=RESAMPLES.get(values.get("resample", 2), "unknown"),
        mean=tuple(values.get("image_mean", ())) if normalised else (),
        deviation=tuple(values.get("image_std", ())) if normalised else (),
    )


def _size(value: Any) -> tuple[int, int] | None:
    """Return height and width of a size as transformers writes it: a number, a pair, or a dict."""
    if isinstance(value, dict):
        edge = value.get("shortest_edge")
        return (edge, edge) if edge else (value["height"], value["width"])
    if isinstance(value, int):
        return value, value
    return (int(value[0]), int(value[1])) if value else None
