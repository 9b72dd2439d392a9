"""A program is the model to the last bit, for any batch; and a file that could do more than compute is not read."""

import io
import json
import shutil
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from pipeline import program
from pipeline.program import Refused, beyond_computing, capture, load, save
from records.errors import BadInput
from tests.pipeline import branches

SIZE = 16
EXAMPLE = torch.rand(2, 3, SIZE, SIZE)
BATCH = [{0: "batch"}]


class Conditional(nn.Module):
    """Two inputs, several outputs, a branch that PyTorch can hold, and a tensor that is no parameter."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, 4, 3)
        self.scale = torch.arange(4.0)

    def forward(self, image: torch.Tensor, number: torch.Tensor) -> dict[str, torch.Tensor]:
        features = self.convolution(image).mean((2, 3)) * self.scale + number[:, None]
        shifted = torch.cond(features.sum() > 0, lambda x: x + 1, lambda x: x - 1, (features,))
        return {"features": features, "shifted": shifted, "number": number}


@pytest.fixture(autouse=True)
def quiet() -> Any:
    with torch.no_grad(), warnings.catch_warnings():
        yield


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A program in a file."""
    path = tmp_path_factory.mktemp("program") / "program.pt2"
    save(capture(Conditional().eval(), (EXAMPLE, torch.arange(2)), BATCH * 2), path)
    return path


def test_a_program_gives_what_the_model_gives_for_any_batch(tmp_path: Path) -> None:
    model = Conditional().eval()
    save(capture(model, (EXAMPLE, torch.arange(2)), BATCH * 2), tmp_path / "program.pt2")
    module = load(tmp_path / "program.pt2").module(check_guards=False)
    for count in (1, 2, 5):
        inputs = torch.rand(count, 3, SIZE, SIZE), torch.arange(count)
        for name, expected in model(*inputs).items():
            assert torch.equal(module(*inputs)[name], expected)


def test_no_line_or_path_of_the_users_is_in_it(saved: Path) -> None:
    content = b"".join(zipfile.ZipFile(saved).read(name) for name in zipfile.ZipFile(saved).namelist())
    assert str(Path(__file__).parent).encode() not in content
    assert b"stack_trace" not in content


@pytest.mark.parametrize(
    ("kind", "reason", "line"),
    [
        (branches.Bright, program.BRANCH, "`if x.mean() > 0.5:`"),
        (branches.Counted, program.BRANCH, "`for _ in range(int(x.sum()) % 3):`"),
        (branches.RowByRow, program.FOR_ONE_SIZE, "`rows = [self.features(row[None]) for row in x]`"),
    ],
)
def test_what_cannot_be_captured_is_refused_with_the_users_line(
    kind: type[nn.Module], reason: str, line: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(Refused) as raised:
        capture(kind().eval(), (EXAMPLE,), BATCH)
    refusal = raised.value.refusal
    assert refusal.reason == reason
    file, number, code = refusal.line.split(":", 2)
    assert (file, number.isdigit(), code.strip()) == ("branches.py", True, line)
    first, second = refusal.told("ONNX").splitlines()
    assert first.startswith(f"ONNX {reason}: branches.py:")
    assert second.endswith(".")
    assert capfd.readouterr() == ("", "")  # PyTorch would print whole graphs


def rewritten(path: Path, change: Callable[[dict[str, bytes]], None]) -> io.BytesIO:
    """The same archive with other contents."""
    with zipfile.ZipFile(path) as archive:
        contents = {name: archive.read(name) for name in archive.namelist()}
    change(contents)
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        for name, content in contents.items():
            archive.writestr(name, content)
    out.seek(0)
    return out


def entry(contents: dict[str, bytes], name: str) -> str:
    return next(key for key in contents if key.endswith(name))


def in_graph(change: Callable[[dict[str, Any]], None]) -> Callable[[dict[str, bytes]], None]:
    """Change the graph's record."""

    def changed(contents: dict[str, bytes]) -> None:
        name = entry(contents, "models/model.json")
        record = json.loads(contents[name])
        change(record)
        contents[name] = json.dumps(record).encode()

    return changed


def called(target: str) -> Callable[[dict[str, bytes]], None]:
    def change(record: dict[str, Any]) -> None:
        record["graph_module"]["graph"]["nodes"][0]["target"] = target

    return in_graph(change)


def sized(expression: str) -> Callable[[dict[str, bytes]], None]:
    def change(record: dict[str, Any]) -> None:
        record["graph_module"]["graph"]["tensor_values"]["image"]["sizes"][0] = {
            "as_expr": {"expr_str": expression, "hint": {"as_int": 2}}
        }

    return in_graph(change)


def inner_call(record: dict[str, Any]) -> None:
    """In the branch of a torch.cond."""
    node = next(node for node in record["graph_module"]["graph"]["nodes"] if "cond" in node["target"])
    node["inputs"][1]["arg"]["as_graph"]["graph"]["nodes"][0]["target"] = "torch.load"


def guards(record: dict[str, Any]) -> None:
    record["guards_code"] = ["__import__('os').system('touch /tmp/ran')"]


def pickled_weight(contents: dict[str, bytes]) -> None:
    name = entry(contents, "model_weights_config.json")
    record = json.loads(contents[name])
    record["config"]["convolution.weight"]["use_pickle"] = True
    contents[name] = json.dumps(record).encode()


class Evil:
    """Runs a command where it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return print, ("ran",)


def pickled_example(contents: dict[str, bytes]) -> None:
    out = io.BytesIO()
    torch.save(Evil(), out)
    contents[entry(contents, "sample_inputs/model.pt")] = out.getvalue()


def further_file(contents: dict[str, bytes]) -> None:
    name = entry(contents, "models/model.json")
    contents[name.replace("models/model.json", "data/aotinductor/model/library.so")] = b"\x7fELF"


ATTACKS: dict[str, Callable[[dict[str, bytes]], None]] = {
    "calls": called("torch.load"),
    "calls 'torch.os.system'": called("torch.os.system"),
    "calls 'torch.ops.load_library'": called("torch.ops.load_library"),
    "calls '_operator.attrgetter'": called("_operator.attrgetter"),
    "calls 'builtins.exec'": called("builtins.exec"),
    "calls 'torch.load'": in_graph(inner_call),
    "__import__('os').system": sized("__import__('os').system('touch /tmp/ran')"),
    "Symbol('s0').__class__": sized("Symbol('s0').__class__"),
    "(lambda: 2)()": sized("(lambda: 2)()"),
    "exec('1')": sized("exec('1')"),
    "holds Python code": in_graph(guards),
    "as a pickle": pickled_weight,
    "no tensor": pickled_example,
    "library.so": further_file,
}


@pytest.mark.parametrize("why", ATTACKS)
def test_a_file_that_could_do_more_than_compute_is_refused(
    saved: Path, tmp_path: Path, why: str, capfd: pytest.CaptureFixture[str]
) -> None:
    content = rewritten(saved, ATTACKS[why])
    assert why in beyond_computing(content)
    path = tmp_path / "program.pt2"
    path.write_bytes(content.getvalue())
    with pytest.raises(BadInput, match="which a program needs not"):
        load(path)
    assert "ran" not in capfd.readouterr().out


def test_a_file_that_was_only_written_anew_is_read(saved: Path) -> None:
    """So that it is the attack that is refused, not the archive."""
    assert beyond_computing(rewritten(saved, lambda contents: None)) == ""


@pytest.mark.parametrize("content", [b"", b"not a zip", b"PK\x03\x04 truncated"])
def test_a_file_that_is_no_program_is_one_sentence(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "program.pt2").write_bytes(content)
    with pytest.raises(BadInput, match="cannot be read"):
        load(tmp_path / "program.pt2")


def test_a_truncated_program_is_one_sentence(saved: Path, tmp_path: Path) -> None:
    shutil.copy(saved, tmp_path / "program.pt2")
    with (tmp_path / "program.pt2").open("r+b") as file:
        file.truncate(saved.stat().st_size // 2)
    with pytest.raises(BadInput, match="cannot be read"):
        load(tmp_path / "program.pt2")


def test_a_program_holds_nobodys_samples(tmp_path: Path) -> None:
    samples = torch.rand(500, 3, 16, 16)
    save(capture(nn.Conv2d(3, 4, 3).eval(), (samples[:2],), [{0: "batch"}]), tmp_path / "program.pt2")
    assert (tmp_path / "program.pt2").stat().st_size < 100_000
    (example,), _ = load(tmp_path / "program.pt2").example_inputs or ((), {})
    assert example.shape == (2, 3, 16, 16)
    assert not example.any()
