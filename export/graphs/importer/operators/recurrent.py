"""Recurrent networks, step after step: as many steps as the sequence has are written into the graph."""

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from export.graphs.importer.node import Node, since
from export.graphs.importer.operators.activation import softplus
from export.graphs.importer.value import Value, number, product, reshaped

States = list[Any]
Step = Callable[[Any, States], States]


def _affine(tensor: Any, alpha: float, beta: float) -> Any:
    return alpha * tensor + beta


def _activation(node: Node, name: str, alpha: float | None, beta: float | None) -> Callable[[Any], Any]:
    """Return ONNX's function of that name between gates. Raises Refused."""
    plain: dict[str, Callable[[Any], Any]] = {
        "sigmoid": tf.sigmoid,
        "tanh": tf.tanh,
        "relu": tf.nn.relu,
        "softsign": lambda tensor: tensor / (1 + tf.abs(tensor)),
        "softplus": softplus,
        "elu": tf.nn.elu,
        "affine": lambda tensor: _affine(tensor, alpha or 1.0, beta or 0.0),
        "leakyrelu": lambda tensor: tf.nn.leaky_relu(tensor, alpha if alpha is not None else 0.01),
        "hardsigmoid": lambda tensor: tf.clip_by_value(
            _affine(tensor, alpha if alpha is not None else 0.2, beta if beta is not None else 0.5), 0.0, 1.0
        ),
    }
    if name.lower() not in plain:
        raise node.refused(f"activation {name}")
    return plain[name.lower()]


def _activations(node: Node, default: list[str], directions: int) -> list[list[Callable[[Any], Any]]]:
    """Return the functions of each direction."""
    names = [name.decode() if isinstance(name, bytes) else name for name in node.attributes.get("activations", [])]
    names = names or default * directions
    alphas, betas = (list(node.attributes.get(f"activation_{kind}", [])) for kind in ("alpha", "beta"))
    count = len(names) // directions
    functions = [
        _activation(node, name, *(numbers[index] if index < len(numbers) else None for numbers in (alphas, betas)))
        for index, name in enumerate(names)
    ]
    return [functions[index * count : (index + 1) * count] for index in range(directions)]


class Sequence:
    """The tensors all three have, and the walk over time."""

    def __init__(self, node: Node, value: Value, recurrence: Value, lengths: Value | None):
        self.node = node
        batch_first = node.flag("layout")
        self.time, self.batch = (1, 0) if batch_first else (0, 1)
        self.steps = node.static(value, self.time, "the length of its sequence")
        self.value = value
        self.count = value.size(self.batch)
        self.hidden = node.static(recurrence, 2)
        self.direction = node.text("direction", "forward")
        self.directions = 2 if self.direction == "bidirectional" else 1
        self.lengths = None if lengths is None else tf.cast(lengths.logical, tf.int32)
        self.kind = value.dtype

    def projected(self, weight: Any, shift: Any) -> list[Any]:
        """Return W · x + b of every step, each (N, gates): one product for all of them.

        weight: (inputs, gates). shift: (gates,).
        """
        sizes, gates = self.value.sizes, int(weight.shape[-1])
        rows = tf.matmul(reshaped(self.value.logical, [product(sizes[:2]), sizes[2]]), weight) + shift
        whole = reshaped(rows, [*sizes[:2], gates])
        return [whole[:, step] if self.time == 1 else whole[step] for step in range(self.steps)]

    def start(self, state: Value | None, direction: int) -> Any:
        """Return the state before the first step, (N, hidden)."""
        if state is not None:
            return state.logical[:, direction] if self.time == 1 else state.logical[direction]
        return tf.zeros(tf.stack([number(self.count), self.hidden]), self.kind)

    def backward(self, direction: int) -> bool:
        """True if a direction begins at the end."""
        return self.direction == "reverse" or direction == 1

    def walk(self, direction: int, inputs: list[Any], states: States, step: Step) -> tuple[list[Any], States]:
        """Return the first state after each step, in the order of time, and the last states. inputs: of every step."""
        order = range(self.steps)[:: -1 if self.backward(direction) else 1]
        outputs: list[Any] = [None] * self.steps
        for index in order:
            following = step(inputs[index], states)
            if self.lengths is not None:
                alive = (self.lengths > index)[:, None]
                outputs[index] = tf.where(alive, following[0], tf.zeros_like(following[0]))
                following = [tf.where(alive, new, old) for new, old in zip(following, states, strict=True)]
            else:
                outputs[index] = following[0]
            states = following
        return outputs, states

    def joined(self, outputs: list[list[Any]], last: list[States]) -> tuple[Value, ...]:
        """Return all steps and each last state (directions, N, hidden).

        Steps are (T, directions, N, hidden), or as `layout` has it.
        """
        axis = 2 if self.time == 1 else 1
        whole = tf.stack([tf.stack(steps, self.time) for steps in outputs], axis)
        states = [tf.stack(list(state), 1 if self.time == 1 else 0) for state in zip(*last, strict=True)]
        return (Value(whole), *(Value(state) for state in states))


def _split(value: Value | None, direction: int, parts: int, width: int, kind: Any) -> Any:
    """Return one direction's row of a (directions, parts · width) tensor; zeros if there is none."""
    if value is None:
        return np.zeros(parts * width, tf.as_dtype(kind).as_numpy_dtype)
    return value.array[direction] if value.constant else value.logical[direction]


def _turned(value: Value, direction: int) -> Any:
    """Return (directions, gates, inputs) as (inputs, gates) of one direction.

    A tensor in any case: of an array, TensorFlow would make a constant at every step, 537 MB for a text reader of 15.
    """
    if value.constant:
        return tf.constant(np.ascontiguousarray(value.array[direction].T))
    return tf.transpose(value.logical[direction])


def _clipped(node: Node) -> Callable[[Any], Any]:
    limit = node.real("clip")
    return (lambda tensor: tf.clip_by_value(tensor, -limit, limit)) if limit else (lambda tensor: tensor)


@since(7)
def RNN(
    node: Node, value: Value, weight: Value, recurrence: Value, bias: Value | None = None,
    lengths: Value | None = None, first: Value | None = None,
) -> tuple[Value, ...]:  # fmt: skip
    """Build h = f(W · x + R · h + b)."""
    run, clip = Sequence(node, value, recurrence, lengths), _clipped(node)
    functions = _activations(node, ["Tanh"], run.directions)
    outputs, last = [], []
    for direction in range(run.directions):
        outer, inner = _turned(weight, direction), _turned(recurrence, direction)
        both = _split(bias, direction, 2, run.hidden, run.kind)
        shift = both[: run.hidden] + both[run.hidden :]
        (function,) = functions[direction]

        def step(x: Any, states: States, inner: Any = inner, function: Any = function) -> States:
            return [function(clip(x + tf.matmul(states[0], inner)))]

        steps, end = run.walk(direction, run.projected(outer, shift), [run.start(first, direction)], step)
        outputs.append(steps)
        last.append(end)
    return run.joined(outputs, last)


@since(7)
def GRU(
    node: Node, value: Value, weight: Value, recurrence: Value, bias: Value | None = None,
    lengths: Value | None = None, first: Value | None = None,
) -> tuple[Value, ...]:  # fmt: skip
    """Build gates z, r, h; the reset before or after the product, as `linear_before_reset` says."""
    run, clip, after = Sequence(node, value, recurrence, lengths), _clipped(node), node.flag("linear_before_reset")
    functions, size = _activations(node, ["Sigmoid", "Tanh"], run.directions), run.hidden
    outputs, last = [], []
    for direction in range(run.directions):
        outer, inner = _turned(weight, direction), _turned(recurrence, direction)
        both = _split(bias, direction, 6, size, run.kind)
        gate, candidate = functions[direction]
        gates = inner if after else inner[:, : 2 * size]
        rest, shift = inner[:, 2 * size :], tf.convert_to_tensor(both[3 * size :])

        def step(new: Any, states: States, gates: Any = gates, rest: Any = rest, shift: Any = shift,
                 gate: Any = gate, candidate: Any = candidate) -> States:  # fmt: skip
            (state,) = states
            old = tf.matmul(state, gates) + (shift if after else shift[: 2 * size])
            update = gate(clip(new[:, :size] + old[:, :size]))
            reset = gate(clip(new[:, size : 2 * size] + old[:, size : 2 * size]))
            part = reset * old[:, 2 * size :] if after else tf.matmul(reset * state, rest) + shift[2 * size :]
            fresh = candidate(clip(new[:, 2 * size :] + part))
            return [(1 - update) * fresh + update * state]

        projected = run.projected(outer, both[: 3 * size])
        steps, end = run.walk(direction, projected, [run.start(first, direction)], step)
        outputs.append(steps)
        last.append(end)
    return run.joined(outputs, last)


@since(7)
def LSTM(
    node: Node, value: Value, weight: Value, recurrence: Value, bias: Value | None = None,
    lengths: Value | None = None, first: Value | None = None, cell: Value | None = None, peep: Value | None = None,
) -> tuple[Value, ...]:  # fmt: skip
    """Build gates i, o, f, c, with peepholes on request."""
    run, clip = Sequence(node, value, recurrence, lengths), _clipped(node)
    functions, size = _activations(node, ["Sigmoid", "Tanh", "Tanh"], run.directions), run.hidden
    coupled = node.flag("input_forget")
    outputs, last = [], []
    for direction in range(run.directions):
        outer, inner = _turned(weight, direction), _turned(recurrence, direction)
        both = _split(bias, direction, 8, size, run.kind)
        shift = both[: 4 * size] + both[4 * size :]
        look = tf.convert_to_tensor(_split(peep, direction, 3, size, run.kind))
        gate, candidate, out = functions[direction]

        def step(x: Any, states: States, inner: Any = inner, look: Any = look,
                 gate: Any = gate, candidate: Any = candidate, out: Any = out) -> States:  # fmt: skip
            state, memory = states
            gates = x + tf.matmul(state, inner)
            parts = [gates[:, index * size : (index + 1) * size] for index in range(4)]

            def peeped(part: Any, index: int, seen: Any) -> Any:
                return part if peep is None else part + look[index * size : (index + 1) * size] * seen

            let_in = gate(clip(peeped(parts[0], 0, memory)))
            forget = 1 - let_in if coupled else gate(clip(peeped(parts[2], 2, memory)))
            new = forget * memory + let_in * candidate(clip(parts[3]))
            let_out = gate(clip(peeped(parts[1], 1, new)))
            return [let_out * out(new), new]

        start = [run.start(first, direction), run.start(cell, direction)]
        steps, end = run.walk(direction, run.projected(outer, shift), start, step)
        outputs.append(steps)
        last.append(end)
    return run.joined(outputs, last)
