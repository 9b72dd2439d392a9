"""ONNX Runtime in a conversion takes the worker's share of cores, so that conversions beside each other go on."""

import pytest
from onnx import TensorProto, helper

from export.graphs.onnx_runtime import session


def doubling() -> bytes:
    """A model that gives twice what it is given."""
    place, result = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in ("x", "y"))
    graph = helper.make_graph([helper.make_node("Add", ["x", "x"], ["y"])], "doubling", [place], [result])
    opset = helper.make_opsetid("", 17)
    content: bytes = helper.make_model(graph, opset_imports=[opset], ir_version=8).SerializeToString()
    return content


@pytest.mark.parametrize(("share", "asked", "taken"), [("3", 0, 3), ("3", 1, 1), ("2,1", 0, 2), ("", 0, 0)])
def test_a_session_takes_its_share_of_cores(
    share: str, asked: int, taken: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", share)
    if not share:
        monkeypatch.delenv("OMP_NUM_THREADS")
    opened = session(doubling(), threads=asked)
    assert opened.get_session_options().intra_op_num_threads == taken  # 0: all that there are
