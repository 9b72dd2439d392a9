"""How many operators of a SavedModel only turn a tensor's axes. Runs in the toolchain `tensorflow`."""

from pathlib import Path

ENVIRONMENT = {"CUDA_VISIBLE_DEVICES": "", "TF_CPP_MIN_LOG_LEVEL": "2"}


def count(folder: str) -> int:
    """Of the whole graph: its top level and every function in it."""
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

    model = SavedModel.FromString((Path(folder) / "saved_model.pb").read_bytes())
    graphs = [one.graph_def for one in model.meta_graphs]
    nodes = [node for graph in graphs for node in graph.node]
    nodes += [node for graph in graphs for function in graph.library.function for node in function.node_def]
    return sum(node.op == "Transpose" for node in nodes)
