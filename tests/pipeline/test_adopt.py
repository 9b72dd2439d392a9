"""Any trained module becomes an ordinary checkpoint, by the command and by three lines of Python, or says why not."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import anywhere
from pipeline.checkpoint import Checkpoint
from records.errors import BadInput
from tests.conftest import Said, scans

NETS = """
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self, classes=3):
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2), nn.ReLU())
        self.fc = nn.Linear(8, classes)

    def forward(self, x):
        return self.fc(self.features(x).mean((2, 3)))


class Two(nn.Module):
    def __init__(self):
        super().__init__()
        self.convolution, self.embedding, self.head = nn.Conv2d(3, 8, 3), nn.Embedding(10, 8), nn.Linear(8, 5)

    def forward(self, image, age):
        features = torch.relu(self.convolution(image)).mean((2, 3)) + self.embedding(age)
        scores = self.head(features)
        return {"scores": scores, "features": features, "best": scores.argmax(1)}


class AlwaysOn(Net):
    def forward(self, x):
        return nn.functional.dropout(super().forward(x), 0.5, training=True)


class Branch(Net):
    def forward(self, x):
        scores = self.fc(self.features(x).mean((2, 3)))
        if x.mean() > 0.5:
            return scores * 2
        return scores


class Batch(Net):
    def forward(self, x):
        return super().forward(x).sum()


class Words(Net):
    def forward(self, x):
        return {"logits": super().forward(x), "label": "cat"}


class Constant(Net):
    def forward(self, x):
        return super().forward(x) * 0


class Unused(Net):
    def __init__(self):
        super().__init__()
        self.spare = nn.Linear(4, 4)


class Boxes(Net):
    def forward(self, x):
        return super().forward(x)[:, None, :2] * torch.ones(1, 4, 1)
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with a module of one's own, its weights, and forty scans of each of three digits."""
    (tmp_path / "nets_here.py").write_text(NETS)
    scans(tmp_path / "val", 40)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "nets_here", raising=False)
    monkeypatch.syspath_prepend(str(tmp_path))
    import nets_here

    torch.manual_seed(0)
    state = {f"module.{name}": value for name, value in nets_here.Net().state_dict().items()}
    torch.save({"epoch": 9, "state_dict": state}, tmp_path / "my.pt")
    return tmp_path


def test_a_module_with_weights_and_pictures_becomes_a_checkpoint(here: Path, command: Callable[..., Said]) -> None:
    said = command("adopt", "nets_here:Net", "--weights", "my.pt", "--images", "val", "--size", "32", "--run", "mine")
    assert said.status == 0, said.err
    assert "my.pt: 4 of 4 tensors; from its 'state_dict'; 'module.' was taken off every key" in said.out
    assert "nobody declared --mean and --deviation" in said.out
    opened = Checkpoint.open(here / "runs" / "mine" / "checkpoint")
    assert (opened.task, opened.labels, opened.model_name) == (
        "classification",
        ("digit0", "digit1", "digit2"),
        "nets_here:Net",
    )
    (image,), (logits,) = opened.inputs, opened.outputs
    assert (image.name, image.shape, image.range) == ("x", ("batch", 3, 32, 32), (0.0, 1.0))
    assert image.preparation is not None
    assert (logits.name, logits.shape) == ("logits", ("batch", 3))
    assert opened.loaded is not None
    assert (opened.loaded["tensors"], opened.loaded["of"], opened.loaded["removed"]) == (4, 4, "module.")
    assert 0 <= opened.metrics["golden_accuracy"] <= 1
    golden = opened.golden()
    assert golden.truth["labels"].shape == (80,)
    with torch.no_grad():
        again = opened.model()(torch.from_numpy(golden.inputs["x"]))[0].numpy()
    assert np.abs(again - golden.outputs["logits"]).max() < 1e-6


def test_several_inputs_and_outputs_keep_their_names_types_and_order(here: Path, command: Callable[..., Said]) -> None:
    age = np.random.default_rng(0).integers(0, 10, 80)
    np.savez("golden.npz", age=age, image=np.random.default_rng(1).random((80, 3, 12, 16), np.float32))
    said = command("adopt", "./nets_here.py:Two", "--inputs", "golden.npz")
    assert said.status == 0, said.err
    opened = Checkpoint.open(here / "runs" / "nets_here.Two" / "checkpoint")
    assert [(one.name, one.dtype, one.shape) for one in opened.inputs] == [
        ("image", "float32", ("batch", 3, 12, 16)), ("age", "int64", ("batch",)),
    ]  # fmt: skip
    assert [(one.name, one.dtype, one.shape) for one in opened.outputs] == [
        ("scores", "float32", ("batch", 5)), ("features", "float32", ("batch", 8)), ("best", "int64", ("batch",)),
    ]  # fmt: skip
    assert (opened.task, opened.labels) == ("regression", ())
    patterns = opened.patterns()
    assert patterns
    assert patterns.inputs["age"].dtype == np.int64
    assert set(patterns.inputs["age"]) <= set(range(10))


@pytest.mark.slow
def test_an_adopted_run_needs_nobodys_module_any_more(here: Path, command: Callable[..., Said]) -> None:
    assert command("adopt", "nets_here:Net", "--weights", "my.pt", "--images", "val", "--size", "32").status == 0
    (here / "nets_here.py").write_text("raise SystemExit('imported')")
    targets = ["--to", "onnx,torchscript,exported_program", "--precision", "float32"]
    command_line = [sys.executable, "-m", "anywhere", "export", *targets]
    done = subprocess.run(command_line, cwd=here, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
def test_what_pytorch_refuses_goes_on_as_torchscript(here: Path, command: Callable[..., Said]) -> None:
    said = command("adopt", "nets_here:Branch", "--images", "val", "--size", "16", "--run", "branch")
    assert said.status == 0, said.err
    assert "cannot hold a branch that Python takes by the values of an image: nets_here.py:" in said.out
    assert "`if x.mean() > 0.5:`" in said.out
    assert "TorchScript goes on without" in said.out
    assert command("export", "branch", "--to", "torchscript").status == 0
    said = command("export", "branch", "--to", "onnx", "--precision", "float32")
    assert said.status == 1
    assert "ONNX cannot hold a branch" in said.out


def test_what_no_output_depends_on_is_said(here: Path, command: Callable[..., Said]) -> None:
    said = command("adopt", "nets_here:Unused", "--images", "val", "--size", "16")
    assert "2 of 6 parameters are never used: spare.weight, spare.bias" in said.out
    assert json.loads((here / "runs" / "nets_here.Unused" / "checkpoint" / "checkpoint.json").read_text())["findings"]


WRONG = {
    "nets_here:AlwaysOn --images val": "output is another one for the same input in eval mode",
    "nets_here:Batch --images val": r"output has shape \(\) for 2 samples; a row for each is needed",
    "nets_here:Words --images val": "forward returns label: a str, which is no tensor",
    "nets_here:Constant --images val": "the same for all 80 inputs, so no parity could be proved",
    "nets_here:Net": "no samples: golden is made of yours. Give one of --images FOLDER and --inputs FILE",
    "nets_here:Two --images val": r"forward takes 2 inputs \(image, age\), and --images gives one",
    "nets_here:Net --images val --inputs x.npz": "several kinds of samples",
    "nets_here:Net --images val --weights gone.pt": "weights gone.pt: no such file",
    "nets_here:Net --images val --option classes=4 --weights my.pt": "2 tensors have another shape",
    "nets_here:Net --images val --mean 0.5": "mean .* and deviation .*: one number, or three",
    "nets_here:Net --images val --mean x": "--mean x: no numbers",
    "nets_here:Net --images val --size big": "--size big: no size in pixels",
    "nets_here:Net --images val --outputs a,b": r"--outputs a,b: the model gives 1 \(output\)",
    "nets_here:Net --images val --task detectoin": "unknown task 'detectoin'",
    "nets_here:Net --images val --task detection": "no output boxes .* name them with --outputs, or leave --task out",
    "nets_here:Boxes --images val --task classification": r"no output logits \(N, K\) among logits \(2, 4, 2\)",
    "nets_here:Net --images val --option classes=4 --task classification": "among 4 classes, and there are 3 labels",
    "nets_here:Net --images val --labels gone.txt": "labels .*gone.txt: no such file",
    "nets_here:Net --images val --option classes": "--option classes: not of the form key=value",
    "nets_here:Net --inputs wrong.npz": "the model: cannot take|model: cannot take",
}


@pytest.mark.slow
@pytest.mark.parametrize("arguments", WRONG)
def test_bad_input_is_one_sentence_and_nothing_is_left(
    here: Path, command: Callable[..., Said], arguments: str
) -> None:
    np.savez("x.npz", x=np.zeros((60, 3, 8, 8)))
    np.savez("wrong.npz", x=np.random.rand(60, 7))
    sized = arguments if "--size" in arguments else f"{arguments} --size 16"
    said = command("adopt", *sized.split(), "--run", "wrong")
    assert said.status == 2, said.out
    (line,) = said.err.strip().splitlines()
    assert line.startswith("error: ")
    assert re.search(WRONG[arguments], line), line
    assert not (here / "runs" / "wrong").exists()


@pytest.mark.slow
def test_a_run_is_not_replaced_unasked(here: Path, command: Callable[..., Said]) -> None:
    arguments = ("adopt", "nets_here:Net", "--images", "val", "--size", "16", "--run", "mine")
    assert command(*arguments).status == 0
    said = command(*arguments)
    assert said.status == 2
    assert "run mine: has a checkpoint. Give another --run NAME, or replace it with --force" in said.err
    said = command("train", "--run", "mine", "--epochs", "1")
    assert said.status == 2
    assert "run mine: holds a model that was adopted, nets_here:Net. Give another --run NAME" in said.err
    assert command(*arguments, "--force").status == 0


class Sums(nn.Module):
    """A module without a file of its own that could be imported by name."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 2)

    def forward(self, first: torch.Tensor, second: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return self.layer(first + second), first - second


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["arrays", "calls", "file"])
def test_three_lines_of_python_do_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    monkeypatch.chdir(tmp_path)
    generator = np.random.default_rng(0)
    arrays = {name: generator.random((60, 4), np.float32) for name in ("first", "second")}
    np.savez("x.npz", **arrays)
    first, second = (torch.from_numpy(value) for value in arrays.values())
    calls = [(first[:30], second[:30]), {"second": second[30:], "first": first[30:]}]
    given = {"arrays": arrays, "calls": calls, "file": "x.npz"}[kind]
    told: list[str] = []
    run = anywhere.adopt(Sums(), inputs=given, run="sums", tell=told.append)
    assert told == ["the model was in training mode; it was put into eval mode"]
    assert [tensor.name for tensor in run.checkpoint.outputs] == ["output_0", "output_1"]
    assert {tensor.name for tensor in run.checkpoint.inputs} == {"first", "second"}
    outcomes = run.export(to=["onnx"], precision=["float32"])
    assert [outcome.status for outcome in outcomes] == ["built"]
    assert run.checkpoint.model_name.endswith("test_adopt:Sums")


def test_python_is_told_what_the_command_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BadInput, match=r"third is no input of forward, which takes first, second"):
        anywhere.adopt(Sums(), inputs={"third": np.zeros((60, 4))}, run="sums")
    assert not (tmp_path / "runs" / "sums").exists()


FULLY = """
import torch
from torch import nn


class Mask(nn.Module):
    def __init__(self):
        super().__init__()
        self.down, self.up = nn.Conv2d(3, 8, 3, padding=1), nn.ConvTranspose2d(8, 8, 2, stride=2)
        self.out = nn.Conv2d(16, 2, 1)

    def forward(self, image):
        features = torch.relu(self.down(image))
        return self.out(torch.cat([features, self.up(nn.functional.max_pool2d(features, 2))], 1))


class OneSize(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(3 * 16 * 16, 4)

    def forward(self, image):
        return self.fc(image.flatten(1))


class OneAtATime(nn.Module):
    def __init__(self):
        super().__init__()
        self.convolution, self.fc = nn.Conv2d(3, 8, 3), nn.Linear(8, 3)

    def forward(self, image):
        if len(image) != 1:
            raise ValueError("one image at a time")
        return self.fc(torch.relu(self.convolution(image)).mean((2, 3)))


class Loop(OneAtATime):
    def forward(self, image):
        return torch.cat([super(Loop, self).forward(image[number : number + 1]) for number in range(len(image))])
"""


@pytest.fixture
def fully(here: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same folder with networks that take any size, one size, or one sample."""
    (here / "fully.py").write_text(FULLY)
    monkeypatch.delitem(sys.modules, "fully", raising=False)
    return here


@pytest.mark.parametrize(
    "targets",
    [
        pytest.param("onnx,torchscript,exported_program", marks=pytest.mark.slow),
        pytest.param("saved_model,tfjs,tflite", marks=pytest.mark.nightly),
    ],
)
def test_another_height_and_width_makes_them_dynamic_and_is_proved(
    fully: Path, command: Callable[..., Said], targets: str
) -> None:
    sizes = ("--size", "16", "--other-size", "24x40", "--other-size", "8")
    said = command("adopt", "fully:Mask", "--images", "val", *sizes, "--run", "mask")
    assert said.status == 0, said.err
    opened = Checkpoint.open(fully / "runs" / "mask" / "checkpoint")
    assert opened.inputs[0].shape == ("batch", 3, "height", "width")
    assert opened.outputs[0].shape == ("batch", 2, "height", "width")
    assert [sized.size for sized in opened.sizes()] == ["24×40", "8×8"]
    assert [sized.outputs["output"].shape for sized in opened.sizes()] == [(4, 2, 24, 40), (4, 2, 8, 8)]
    precisions = "float32,int8" if "onnx" in targets else "float32"
    assert command("export", "mask", "--to", targets, "--precision", precisions).status == 0
    said = command("validate", "mask")
    assert said.status == 0, said.out
    report = json.loads((fully / "runs" / "mask" / "report" / "report.json").read_text())
    for row in report["results"]:
        if row["status"] != "not_run" and row["target"] != "tflite":  # which takes one size
            probed = {probe["name"]: probe["judgement"]["within"] for probe in row["probes"] if "×" in probe["name"]}
            assert probed == {"24×40": True, "8×8": True}, row


@pytest.mark.slow
def test_a_size_that_the_network_does_not_take_is_refused(fully: Path, command: Callable[..., Said]) -> None:
    said = command("adopt", "fully:OneSize", "--images", "val", "--size", "16", "--other-size", "24")
    assert said.status == 2
    assert "model: cannot take image (2, 3, 24, 24)" in said.err
    np.savez("x.npz", image=np.random.default_rng(0).random((60, 3 * 16 * 16), np.float32))
    said = command("adopt", "fully:OneSize", "--inputs", "x.npz", "--other-size", "24")
    assert said.status == 2
    assert "--other-size 24×24: no input has a height and width" in said.err
    said = command("adopt", "fully:Mask", "--images", "val", "--size", "16", "--other-size", "16")
    assert said.status == 2
    assert "--other-size 16×16: is --size itself" in said.err


@pytest.mark.slow
@pytest.mark.parametrize("name", ["OneAtATime", pytest.param("Loop", marks=pytest.mark.nightly)])
def test_a_network_for_one_sample_goes_through_one_by_one(fully: Path, command: Callable[..., Said], name: str) -> None:
    said = command("adopt", f"fully:{name}", "--images", "val", "--size", "16", "--run", "single")
    assert said.status == 0, said.err
    why = {"OneAtATime": "for it takes no two", "Loop": "for PyTorch exports it with its example's number of samples"}
    assert f"it takes one sample at a time, {why[name]}" in said.out
    assert ("for number in range(len(image))" in said.out) == (name == "Loop")
    opened = Checkpoint.open(fully / "runs" / "single" / "checkpoint")
    assert (opened.inputs[0].shape, opened.outputs[0].shape) == ((1, 3, 16, 16), (1, 3))
    assert command("export", "single", "--to", "onnx", "--to", "torchscript", "--precision", "float32,int8").status == 0
    assert command("validate", "single").status == 0
