"""A spelling is a model or one sentence that says what was looked for, and where."""

import json
import warnings
from pathlib import Path

import pytest
import torch
from torch import nn

from pipeline import libraries
from pipeline.libraries import Declared, build, parse
from pipeline.weights import load
from records.errors import BadInput

NETS = """
import neighbour
from torch import nn


class Net(nn.Module):
    def __init__(self, width=4):
        super().__init__()
        self.layer = nn.Linear(3, width)


class Needs(Net):
    def __init__(self, width, depth, bias=True):
        super().__init__(width)


def nothing():
    pass


def words():
    return "a model"


def broken():
    raise RuntimeError("no such file: base.yaml")


finished = Net(5)
"""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "nets_of_mine.py").write_text(NETS)
    (tmp_path / "neighbour.py").write_text("")
    (tmp_path / "wrong.py").write_text("import surely_not_installed\n")
    (tmp_path / "syntax.py").write_text("def f(:\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("spelling", "library", "name"),
    [
        ("resnet18", "torchvision", "resnet18"),
        ("torchvision:resnet18", "torchvision", "resnet18"),
        ("timm:resnet18.a1_in1k", "timm", "resnet18.a1_in1k"),
        ("hf:./my-vit", "hf", "./my-vit"),
        ("lightning:a.b:C", "lightning", "a.b:C"),
        ("a.b:C", "own", "a.b:C"),
        ("./nets.py:Net", "own", "./nets.py:Net"),
    ],
)
def test_a_spelling_names_a_library(spelling: str, library: str, name: str) -> None:
    assert parse(spelling) == (library, name)


@pytest.mark.parametrize("spelling", ["nets_of_mine:Net", "./nets_of_mine.py:Net", "nets_of_mine:finished"])
def test_a_model_of_ones_own_is_built_and_its_neighbours_are_found(spelling: str) -> None:
    assert isinstance(build(spelling, {}).module, nn.Module)


def test_options_go_to_its_constructor() -> None:
    assert build("nets_of_mine:Net", {"width": 7}).module.layer.out_features == 7
    assert build("resnet18", {"num_classes": 7}).module.fc.out_features == 7


WRONG = {
    "nets_of_mine.py": "which function or class of it\\? Write nets_of_mine.py:NAME",
    "./nets_of_mine.py": "Write ./nets_of_mine.py:NAME",
    "nets_of_mine:": "Write nets_of_mine:NAME",
    "elsewhere:Net": "no module elsewhere in .*, in PYTHONPATH or installed",
    "./elsewhere.py:Net": "no file .*elsewhere.py",
    "wrong:Net": "wrong needs surely_not_installed, which is not installed",
    "./wrong.py:Net": "cannot be imported .ModuleNotFoundError: .*surely_not_installed",
    "syntax:f": "syntax cannot be imported .SyntaxError",
    "nets_of_mine:Nett": "nets_of_mine has no Nett, only Needs, Net, broken, finished, nothing, words",
    "nets_of_mine:Needs": "needs width, depth. Give what it was built with: --option width=VALUE",
    "nets_of_mine:nothing": "gives nothing, no torch.nn.Module",
    "nets_of_mine:words": "gives a str, no torch.nn.Module",
    "nets_of_mine:broken": "cannot be built .RuntimeError: no such file: base.yaml",
    "resnet19": "unknown model 'resnet19'. Nearest: resnet1",
    "hf:./nowhere": "no config.json in|transformers cannot be imported",
}


@pytest.mark.parametrize("spelling", WRONG)
def test_a_spelling_that_is_no_model_is_one_sentence(spelling: str) -> None:
    with pytest.raises(BadInput, match=WRONG[spelling]) as raised:
        build(spelling, {})
    assert len(str(raised.value).splitlines()) == 1


def test_an_option_that_nobody_takes_is_said() -> None:
    with pytest.raises(BadInput, match="takes no wide, only width"):
        build("nets_of_mine:Net", {"wide": 3})


def test_a_library_that_is_not_installed_names_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> object:
        if name == "timm":
            raise ImportError("No module named 'timm'")
        return real(name)

    real = libraries.importlib.import_module
    monkeypatch.setattr(libraries.importlib, "import_module", missing)
    with pytest.raises(BadInput, match=r"pip install 'anywhere\[timm\]', in a checkout make setup EXTRAS=timm"):
        build("timm:resnet18", {})


def test_timm_says_how_pictures_are_prepared() -> None:
    declared = build("timm:mobilenetv4_conv_small", {}).declared
    assert declared
    assert declared.size == (224, 224)
    assert declared.resize == (256, 256)
    assert (declared.interpolation, declared.mean) == ("bicubic", (0.485, 0.456, 0.406))


def test_torchvision_declares_nothing_for_weights_that_are_not_its_own() -> None:
    assert build("resnet50", {}).declared is None


@pytest.mark.slow
def test_a_folder_of_hugging_faces_brings_weights_labels_and_preparation(here: Path) -> None:
    import transformers

    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    config = transformers.ViTConfig(
        image_size=32, patch_size=16, **sizes, id2label={0: "cat", 1: "dog"}, label2id={"cat": 0, "dog": 1}
    )
    transformers.ViTForImageClassification(config).save_pretrained(here / "vit")
    processor = {"size": {"height": 32, "width": 32}, "resample": 3, "image_mean": [0.5] * 3, "image_std": [0.25] * 3}
    (here / "vit" / "preprocessor_config.json").write_text(json.dumps(processor))
    built = build("hf:./vit", {})
    assert built.labels == ("cat", "dog")
    assert built.declared == Declared((32, 32), None, "bicubic", (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
    assert built.loaded is not None
    assert built.loaded.tensors == built.loaded.of > 10
    (here / "vit" / "model.safetensors").write_bytes(b"")
    with pytest.raises(BadInput, match=r"model hf:./vit: cannot be built"):
        build("hf:./vit", {})


LIT = """
import lightning
from torch import nn


class LitNet(lightning.LightningModule):
    def __init__(self, width):
        super().__init__()
        self.save_hyperparameters()
        self.layer = nn.Linear(3, width)

    def forward(self, x):
        return self.layer(x)
"""


@pytest.mark.slow
def test_a_lightning_module_is_built_with_the_arguments_that_its_checkpoint_keeps(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a library's, about itself
        import lightning

        (here / "lit_of_mine.py").write_text(LIT)
        monkeypatch.syspath_prepend(str(here))
        from lit_of_mine import LitNet

        trained = LitNet(width=7)
        trainer = lightning.Trainer(logger=False, enable_checkpointing=False, enable_progress_bar=False)
        trainer.strategy.connect(trained)
        trainer.save_checkpoint(here / "epoch=9.ckpt")
        built = build("lightning:lit_of_mine:LitNet", {}, here / "epoch=9.ckpt")
    assert built.module.layer.out_features == 7
    assert load(built.module, here / "epoch=9.ckpt").told.startswith(
        "epoch=9.ckpt: 2 of 2 tensors; from its 'state_dict'"
    )
    assert torch.equal(built.module.layer.weight, trained.layer.weight)


def test_timms_own_weights_are_asked_of_timm(monkeypatch: pytest.MonkeyPatch) -> None:
    import timm

    create, asked = timm.create_model, list[bool]()

    def creating(name: str, pretrained: bool, **options: object) -> nn.Module:
        asked.append(pretrained)
        return create(name, pretrained=False, **options)

    monkeypatch.setattr(timm, "create_model", creating)
    assert libraries.offers_weights("timm:resnet10t")
    assert isinstance(libraries.pretrained("timm:resnet10t", {}), nn.Module)
    assert asked == [True]
    assert not libraries.offers_weights("nets_of_mine:Net")
