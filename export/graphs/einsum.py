"""A sum of products by Einstein's notation as one matrix product, for runtimes that have no Einsum.

    value = einsum("bqhd,bkhd->bhqk", queries, keys)

Each factor is brought into three axes, what both and the result have, what only it and the result have, and what is
summed; the product of the two is taken apart again.
"""

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

Tensor = Any
FRESH = "ZYXWVUTSRQ"
"""Letters for the axes of an ellipsis, the last axis first."""


def einsum(equation: str, *factors: Tensor) -> Tensor | None:
    """Compute it; None where an axis is taken twice of one factor, or more is summed than a product of two can say."""
    terms = spelled(equation, factors)
    if terms is None or any(len(set(term)) < len(term) for term in terms):
        return None
    *given, result = terms
    needed = [set(result).union(*(other for other in given if other is not term)) for term in given]
    reduced = [_without(*pair) for pair in zip(factors, given, needed, strict=True)]
    if len(reduced) == 1:
        return _ordered(*reduced[0], result)
    return _product(reduced[0], reduced[1], result)


def spelled(equation: str, factors: Sequence[Tensor]) -> list[str] | None:
    """The letters of every factor's axes, and of the result's, an ellipsis among them; None for ranks unknown."""
    given, arrow, result = equation.replace(" ", "").partition("->")
    terms = given.split(",")
    if not arrow or len(terms) != len(factors) > 2 or any(one.shape.rank is None for one in factors):
        return None
    hidden = [factor.shape.rank - len(term.replace("...", "")) for factor, term in zip(factors, terms, strict=True)]
    most = max((count for count, term in zip(hidden, terms, strict=True) if "..." in term), default=0)
    letters = [FRESH[count - 1 :: -1] if count else "" for count in (*hidden, most)]
    return [term.replace("...", some) for term, some in zip((*terms, result), letters, strict=True)]


def _without(factor: Tensor, term: str, needed: set[str]) -> tuple[Tensor, str]:
    """A factor summed over the axes that nothing else has."""
    alone = [axis for axis, letter in enumerate(term) if letter not in needed]
    rest = "".join(letter for letter in term if letter in needed)
    return (tf.reduce_sum(factor, alone) if alone else factor), rest


def _product(first: tuple[Tensor, str], second: tuple[Tensor, str], result: str) -> Tensor:
    """Two factors multiplied and summed over what the result has not."""
    (one, mine), (other, theirs) = first, second
    shared = [letter for letter in result if letter in mine and letter in theirs]
    summed = [letter for letter in mine if letter not in result]
    rows, columns = ([letter for letter in term if letter not in [*shared, *summed]] for term in (mine, theirs))
    sizes = {**_sizes(other, theirs), **_sizes(one, mine)}
    left = _in_three(_ordered(one, mine, [*shared, *rows, *summed]), sizes, shared, rows, summed)
    right = _in_three(_ordered(other, theirs, [*shared, *columns, *summed]), sizes, shared, columns, summed)
    product = tf.matmul(left, right, adjoint_b=True)
    found = [*shared, *rows, *columns]
    return _ordered(tf.reshape(product, [sizes[letter] for letter in found]), found, result)


def _sizes(factor: Tensor, term: str) -> dict[str, Any]:
    """How long every axis is; a tensor where that is not known yet."""
    shape = tf.shape(factor)
    return {letter: factor.shape[axis] or shape[axis] for axis, letter in enumerate(term)}


def _in_three(factor: Tensor, sizes: dict[str, Any], *groups: Sequence[str]) -> Tensor:
    """A factor whose axes of each group are one."""
    lengths = []
    for group in groups:
        length: Any = 1
        for letter in group:
            length *= sizes[letter]
        lengths.append(length)
    return tf.reshape(factor, lengths)


def _ordered(factor: Tensor, term: Sequence[str], order: Sequence[str]) -> Tensor:
    """A factor with its axes in another order."""
    axes = [list(term).index(letter) for letter in order]
    return factor if axes == sorted(axes) else tf.transpose(factor, axes)
