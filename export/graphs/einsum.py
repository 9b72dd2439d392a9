"""Computes an einsum as one matrix product, for runtimes that have no Einsum.

    value = einsum("bqhd,bkhd->bhqk", queries, keys)

The axes of each factor are grouped into three: those that both factors and the result have, those that only this factor
and the result have, and those that are summed. The product of the two is then split into its axes again.
"""

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

FRESH = "ZYXWVUTSRQ"
"""Letters for the axes of an ellipsis, the last axis first."""


def einsum(equation: str, *factors: tf.Tensor) -> tf.Tensor | None:
    """Return the sum; None if an axis occurs twice in one factor, or if more is summed than one product can express."""
    terms = spelled(equation, factors)
    if terms is None or any(len(set(term)) < len(term) for term in terms):
        return None
    *factor_terms, result = terms
    needed = [set(result).union(*(other for other in factor_terms if other is not term)) for term in factor_terms]
    reduced = [_without(*pair) for pair in zip(factors, factor_terms, needed, strict=True)]
    if len(reduced) == 1:
        return _ordered(*reduced[0], result)
    return _product(reduced[0], reduced[1], result)


def spelled(equation: str, factors: Sequence[tf.Tensor]) -> list[str] | None:
    """Return the letters of every factor's axes and of the result's, ellipses spelled out; None for unknown ranks."""
    factor_letters, arrow, result = equation.replace(" ", "").partition("->")
    terms = factor_letters.split(",")
    if not arrow or len(terms) != len(factors) > 2 or any(factor.shape.rank is None for factor in factors):
        return None
    hidden = [factor.shape.rank - len(term.replace("...", "")) for factor, term in zip(factors, terms, strict=True)]
    most = max((count for count, term in zip(hidden, terms, strict=True) if "..." in term), default=0)
    letters = [FRESH[count - 1 :: -1] if count else "" for count in (*hidden, most)]
    return [term.replace("...", fresh) for term, fresh in zip((*terms, result), letters, strict=True)]


def _without(factor: tf.Tensor, term: str, needed: set[str]) -> tuple[tf.Tensor, str]:
    """Return a factor summed over the axes that nothing else has, and the letters of the axes that are left."""
    alone = [axis for axis, letter in enumerate(term) if letter not in needed]
    remaining = "".join(letter for letter in term if letter in needed)
    return (tf.reduce_sum(factor, alone) if alone else factor), remaining


def _product(first: tuple[tf.Tensor, str], second: tuple[tf.Tensor, str], result: str) -> tf.Tensor:
    """Return two factors multiplied, and summed over the axes that the result does not have."""
    (left_factor, left_term), (right_factor, right_term) = first, second
    shared = [letter for letter in result if letter in left_term and letter in right_term]
    summed = [letter for letter in left_term if letter not in result]
    rows, columns = (
        [letter for letter in term if letter not in [*shared, *summed]] for term in (left_term, right_term)
    )
    sizes = {**_sizes(right_factor, right_term), **_sizes(left_factor, left_term)}
    left_matrix = _in_three(_ordered(left_factor, left_term, [*shared, *rows, *summed]), sizes, shared, rows, summed)
    right_matrix = _in_three(
        _ordered(right_factor, right_term, [*shared, *columns, *summed]), sizes, shared, columns, summed
    )
    product = tf.matmul(left_matrix, right_matrix, adjoint_b=True)
    order = [*shared, *rows, *columns]
    return _ordered(tf.reshape(product, [sizes[letter] for letter in order]), order, result)


def _sizes(factor: tf.Tensor, term: str) -> dict[str, Any]:
    """Return the length of every axis by its letter; a tensor where it is not known yet."""
    shape = tf.shape(factor)
    return {letter: factor.shape[axis] or shape[axis] for axis, letter in enumerate(term)}


def _in_three(factor: tf.Tensor, sizes: dict[str, Any], *groups: Sequence[str]) -> tf.Tensor:
    """Return a factor whose axes of each group are merged into one."""
    lengths = []
    for group in groups:
        length: Any = 1
        for letter in group:
            length *= sizes[letter]
        lengths.append(length)
    return tf.reshape(factor, lengths)


def _ordered(factor: tf.Tensor, term: Sequence[str], order: Sequence[str]) -> tf.Tensor:
    """Return a factor with its axes in another order."""
    axes = [list(term).index(letter) for letter in order]
    return factor if axes == sorted(axes) else tf.transpose(factor, axes)
