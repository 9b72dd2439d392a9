"""Attention as one operator, as newer exporters write it, and rotary positions."""

from typing import Any

import numpy as np
import tensorflow as tf

from export.graphs.importer.node import Node, since
from export.graphs.importer.value import Dim, Extent, Value, number, product, reshaped


def _heads(node: Node, value: Value, name: str) -> Any:
    """Return (N, heads, tokens, width), also from (N, tokens, heads · width)."""
    if value.rank == 4:
        return value.logical
    heads = node.integer(name)
    if not heads:
        raise node.refused(f"{name} is not given")
    batch, tokens, _ = value.sizes
    split = reshaped(value.logical, [batch, tokens, heads, node.static(value, 2) // heads])
    return tf.transpose(split, [0, 2, 1, 3])


@since(23)
def Attention(
    node: Node, query: Value, key: Value, value: Value, mask: Value | None = None, past_key: Value | None = None,
    past_value: Value | None = None, lengths: Value | None = None,
) -> tuple[Value | None, ...]:  # fmt: skip
    """Build softmax(scale · Q · Kᵀ + mask) · V, for as many heads of keys as divide those of queries."""
    if lengths is not None:
        raise node.refused("padded lengths of keys")
    q, k, v = _heads(node, query, "q_num_heads"), _heads(node, key, "kv_num_heads"), _heads(node, value, "kv_num_heads")
    k, v = (
        tf.concat([past.logical, now], 2) if past is not None else now for past, now in ((past_key, k), (past_value, v))
    )
    present = (Value(k), Value(v))
    kind = q.dtype
    if kind == tf.float16:
        q, k, v = (tf.cast(tensor, tf.float32) for tensor in (q, k, v))
    many, few = int(q.shape[1]), int(k.shape[1])
    if many != few:
        k, v = (tf.repeat(tensor, many // few, axis=1) for tensor in (k, v))
    scale = node.real("scale") or 1 / float(np.sqrt(int(q.shape[3])))
    root = np.array(np.sqrt(scale), q.dtype.as_numpy_dtype)
    scores = tf.matmul(q * root, k * root, transpose_b=True)
    stages = {0: scores}
    scores = _masked(node, scores, mask, past_key)
    stages[1] = scores
    cap = node.real("softcap")
    if cap:
        scores = cap * tf.tanh(scores / cap)
    stages[2] = scores
    shares = tf.nn.softmax(scores)
    stages[3] = shares
    result = tf.matmul(shares, v)
    if query.rank == 3:
        turned = tf.transpose(result, [0, 2, 1, 3])
        sizes = Value(turned).sizes
        result = reshaped(turned, [sizes[0], sizes[1], product(sizes[2:])])
    gives_scores = len(node.wanted) > 3 and node.wanted[3]
    if (
        gives_scores
        and (cap or mask is not None or node.flag("is_causal"))
        and node.integer("qk_matmul_output_mode") in {1, 2}
    ):
        raise node.refused("its scores before softmax as an output")
    return Value(tf.cast(result, kind)), *present, Value(tf.cast(stages[node.integer("qk_matmul_output_mode")], kind))


def _masked(node: Node, scores: Any, mask: Value | None, past: Value | None) -> Any:
    """Return the scores plus the mask, and minus infinity for keys that must not be seen."""
    least = np.array(-np.inf, scores.dtype.as_numpy_dtype)
    if node.flag("is_causal"):
        whole = Value(scores)
        rows, columns = whole.sizes[2:]
        before: Dim = past.size(2) if past is not None else 0
        row = _ladder(rows)[:, None] + number(before)
        scores = tf.where(row >= _ladder(columns)[None], scores, least)
    if mask is None:
        return scores
    tensor = mask.logical
    if int(tensor.shape[-1]) < int(scores.shape[-1]):
        raise node.refused("a mask that is shorter than the keys")
    if mask.dtype == tf.bool:
        return tf.where(tensor, scores, least)
    return scores + tf.cast(tensor, scores.dtype)


def _ladder(size: Dim) -> Any:
    return tf.range(size.tensor) if isinstance(size, Extent) else np.arange(size, dtype=np.int32)


@since(23)
def RotaryEmbedding(node: Node, value: Value, cosines: Value, sines: Value, places: Value | None = None) -> Value:
    """Build pairs of features turned by an angle that grows with the position."""
    flat = value.rank == 3
    tensor = _heads(node, value, "num_heads") if flat else value.logical  # (N, heads, tokens, width)
    tensor = tf.transpose(tensor, [0, 2, 1, 3])  # (N, tokens, heads, width)
    width = int(tensor.shape[3])
    turned = node.integer("rotary_embedding_dim") or width
    angles = [
        (tf.gather(table.logical, tf.cast(places.logical, tf.int32)) if places is not None else table.logical)[
            ..., None, : turned // 2
        ]
        for table in (cosines, sines)
    ]
    inside, rest = tensor[..., :turned], tensor[..., turned:]
    apart = node.flag("interleaved")
    first, second = (
        (inside[..., 0::2], inside[..., 1::2]) if apart else (inside[..., : turned // 2], inside[..., turned // 2 :])
    )
    real, imaginary = first * angles[0] - second * angles[1], first * angles[1] + second * angles[0]
    if apart:
        sizes = Value(inside).sizes
        joined = reshaped(tf.stack([real, imaginary], -1), sizes)
    else:
        joined = tf.concat([real, imaginary], -1)
    whole = tf.concat([joined, rest], -1)
    if flat:
        return Value(reshaped(whole, value.sizes))
    return Value(tf.transpose(whole, [0, 2, 1, 3]))
