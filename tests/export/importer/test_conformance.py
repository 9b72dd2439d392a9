"""The importer on every conformance case that ONNX ships: right, or refused by name.

`refused.txt` lists what is refused and why. It is written anew, to be read before it is committed, by

    python -m tests.export.importer.test_conformance
"""

import tempfile
from pathlib import Path
from typing import Any

import pytest

from workers import registry

HERE = Path(__file__).parent
LIST = HERE / "refused.txt"
RIGHT = 1200
"""Cases that have been right: fewer would be a loss."""
OTHERWISE = {
    "test_resize_downsample_scales_linear_align_corners": "corners over 2.4 × 1.2 pixels",
    "test_resize_downsample_scales_cubic_align_corners": "corners over 3.2 × 3.2 pixels",
}
"""Cases whose numbers neither PyTorch nor ONNX Runtime gives, and why: the importer gives theirs."""


def outcome(log: Path) -> dict[str, dict[str, str]]:
    chain = registry.find()["tensorflow"]
    chain.build()
    with chain.start(log) as worker:
        value: dict[str, Any] = worker.call(HERE / "conformance.py", "run", {}, log, 300).value
    return value


FOREIGN = ("cases",)


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, str]]:
    return outcome(tmp_path_factory.mktemp("conformance") / "log")


def test_no_conformance_case_is_wrong(cases: dict[str, dict[str, str]]) -> None:
    assert cases["wrong"].keys() == OTHERWISE.keys()
    assert len(cases["right"]) >= RIGHT


def test_what_is_refused_is_listed_with_its_reason(cases: dict[str, dict[str, str]]) -> None:
    assert LIST.read_text() == listed(cases["refused"]), "read the difference, then: python -m " + __spec__.name


def test_a_reason_names_the_operator_or_the_type(cases: dict[str, dict[str, str]]) -> None:
    for name, reason in cases["refused"].items():
        assert "TensorFlow says" not in reason or "of opset" in reason, name
        assert len(reason) > 15, name


def listed(refused: dict[str, str]) -> str:
    """One line a case."""
    return "".join(f"{name}: {reason}\n" for name, reason in sorted(refused.items()))


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        LIST.write_text(listed(outcome(Path(folder) / "log")["refused"]))
