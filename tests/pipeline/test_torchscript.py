"""A branch by an image's values is kept both ways, or refused with its line; one by sizes is no such branch."""

import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import torchvision
from rich.console import Console
from torch import nn

from export.convert import Outcome, convert
from export.graphs.operators import Inexpressible
from export.run import Run
from export.target import find, plan
from export.targets import torchscript
from pipeline import checkpoint as names
from pipeline import config as configs
from pipeline.checkpoint import Checkpoint
from pipeline.torchscript import decided_by_values, near, trace
from pipeline.train import settle, train
from tests.modules import built
from tests.pipeline import branches

SIZE = 16
EXAMPLE = torch.rand((2, 3, SIZE, SIZE), generator=torch.Generator().manual_seed(0)) * 0.5
WHITE = torch.ones(1, 3, SIZE, SIZE)
BY_VALUES = {
    branches.Bright: "`if x.mean() > 0.5:`",
    branches.Counted: "`for _ in range(int(x.sum()) % 3):`",
    branches.Read: "`y = y * x.max().item()`",
    branches.Unscriptable: "`if x.mean() > 0.5:`",
    branches.ByChance: "`if torch.rand(1) > 2:`",
}
BY_SIZES = (branches.Sizes, branches.OwnNumber)


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    with warnings.catch_warnings(), torch.no_grad():
        warnings.filterwarnings("ignore", "`torch.jit.*deprecated", FutureWarning)
        yield


@pytest.mark.parametrize("kind", BY_VALUES)
def test_a_line_that_reads_values_is_named_without_a_path(kind: type[nn.Module]) -> None:
    (line,) = decided_by_values(kind().eval(), [EXAMPLE])
    file, number, code = line.split(":", 2)
    assert (file, number.isdigit()) == ("branches.py", True)
    assert code.strip() == BY_VALUES[kind]


@pytest.mark.parametrize("kind", BY_SIZES)
def test_sizes_and_the_networks_own_numbers_decide_nothing(kind: type[nn.Module]) -> None:
    model = kind().eval()
    assert trace(model, (EXAMPLE,))[1]  # PyTorch warns of it
    assert decided_by_values(model, [EXAMPLE]) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("swin_t", {}),
        ("swin_v2_t", {}),
        ("vit_b_16", {"image_size": 64}),
        ("maxvit_t", {"input_size": (224, 224)}),
        ("googlenet", {"aux_logits": False, "init_weights": False, "transform_input": False}),
        ("inception_v3", {"aux_logits": False, "init_weights": False, "transform_input": False}),
    ],
)
def test_an_ordinary_network_that_looks_at_sizes_is_traced(name: str, options: dict[str, object]) -> None:
    model = torchvision.models.get_model(name, num_classes=5, **options).eval()
    size = {"maxvit_t": 224, "inception_v3": 96}.get(name, 64)
    traced, warned, whole = trace(model, (torch.rand(2, 3, size, size),))
    assert whole == []
    assert not warned or decided_by_values(model, [torch.rand(2, 3, size, size)]) == []
    image = torch.rand(3, 3, size, size)
    assert near([traced(image).numpy()], [model(image).numpy()], [])


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The current folder: a run for each network that is asked for, trained for an epoch."""
    place = tmp_path_factory.mktemp("branches")
    (place / "branches.py").write_text(Path(branches.__file__).read_text())
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        patch.syspath_prepend(str(place))
        yield place


def trained(place: Path, kind: type[nn.Module]) -> Run:
    folder = place / "runs" / kind.__name__.lower()
    if not folder.exists():
        values = {
            "model.name": f"branches:{kind.__name__}", "data.image_size": SIZE, "train.epochs": 1,
            "data.golden": 32, "data.calibration": 32,
        }  # fmt: skip
        with torch.enable_grad():
            train(settle(configs.read(None, values)), folder, None, Console(quiet=True))
    return Run(folder, Checkpoint.open(folder / "checkpoint"))


@pytest.mark.slow
@pytest.mark.parametrize("kind", [branches.Bright, branches.Counted])
def test_what_no_program_can_hold_is_scripted_and_right_on_every_image(
    checkpoints: Path, tmp_path: Path, kind: type[nn.Module]
) -> None:
    run = trained(checkpoints, kind)
    assert names.TORCHSCRIPT in run.checkpoint.files
    assert names.PROGRAM not in run.checkpoint.files
    said = torchscript.convert(run.checkpoint.folder, run.checkpoint.folder, "float32", tmp_path)
    assert said == {"entry": "model.pt", "details": {"way": "module"}}
    file, model = torch.jit.load(str(tmp_path / "model.pt")), built(run.checkpoint)
    traced, *_ = trace(model, run.checkpoint.example())
    images = [torch.zeros(1, 3, SIZE, SIZE), WHITE, EXAMPLE, WHITE * 0.7, WHITE]
    for image in images * 3:  # the third call is optimised for the first two
        assert torch.allclose(file(image), model(image), rtol=1e-5, atol=1e-6)
    assert any(not torch.allclose(traced(image), model(image), rtol=1e-2) for image in images)


@pytest.mark.slow
@pytest.mark.parametrize("kind", [branches.Read, branches.Sizes])
def test_of_a_program_it_is_compiled_and_takes_any_batch(
    checkpoints: Path, tmp_path: Path, kind: type[nn.Module]
) -> None:
    run = trained(checkpoints, kind)
    said = torchscript.convert(run.checkpoint.folder, run.checkpoint.folder, "float32", tmp_path)
    assert said["details"] == {"way": "program"}
    file, model = torch.jit.load(str(tmp_path / "model.pt")), built(run.checkpoint)
    for image in [WHITE, EXAMPLE, WHITE * 0.7, torch.rand(7, 3, SIZE, SIZE)] * 3:
        assert torch.allclose(file(image), model(image), rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_a_network_whose_branch_no_way_can_hold_is_refused_with_its_line(checkpoints: Path, tmp_path: Path) -> None:
    run = trained(checkpoints, branches.Unscriptable)
    with pytest.raises(Inexpressible) as raised:
        torchscript.convert(run.checkpoint.folder, run.checkpoint.folder, "float32", tmp_path)
    first, second = str(raised.value).splitlines()
    assert first.startswith(
        "TorchScript cannot hold a branch that Python takes by the values of an image: branches.py:"
    )
    assert first.endswith("`if x.mean() > 0.5:`.")
    assert "torch.jit.script refuses it: " in second
    assert str(checkpoints) not in str(raised.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_network_that_keeps_the_number_of_rows_is_taken_for_one_and_its_line_is_said(
    checkpoints: Path, tmp_path: Path
) -> None:
    opened = trained(checkpoints, branches.RowByRow).checkpoint
    (finding,) = [one for one in opened.findings if "one sample at a time" in one]
    assert finding.endswith("`rows = [self.features(row[None]) for row in x]`")
    assert opened.batch == 1
    torchscript.convert(opened.folder, opened.folder, "float32", tmp_path)
    golden = opened.golden()
    script = torch.jit.load(str(tmp_path / "model.pt"))
    rows = [script(torch.from_numpy(row[None])) for row in golden.inputs["image"][:4]]
    assert near([torch.cat(rows).numpy()], [golden.outputs["logits"][:4]], [])


@pytest.mark.slow
def test_the_other_targets_say_the_line_what_to_do_and_who_can(checkpoints: Path) -> None:
    run = trained(checkpoints, branches.Bright)
    conversions = plan(find(), ["onnx", "exported_program", "torchscript"], ["float32"])
    outcomes = {one.conversion.target.name: one for one in convert(run, conversions, 1, False, lambda _: None)}
    assert outcomes["torchscript"].artifact
    assert outcomes["torchscript"].artifact.details["way"] == "module"
    for name, said in (("onnx", "ONNX"), ("exported_program", "A torch.export program")):
        first, second = _lines(outcomes[name])
        assert first.startswith(
            f"{said} cannot hold a branch that Python takes by the values of an image: branches.py:"
        )
        assert second == "Choose between tensors there, with torch.where or torch.cond. Targets that can: torchscript."


def _lines(outcome: Outcome) -> list[str]:
    assert outcome.artifact is None
    return outcome.reason.splitlines()
