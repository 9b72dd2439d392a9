"""What a sample's decision is called: a class, shares of classes, or the things that were found."""

import numpy as np

from measures.distance import NOTHING
from validate.judge.decisions import THINGS, told

NAMES = {0: "cat", 1: "dog", NOTHING: "nothing"}


def test_a_class_is_said_by_its_name_and_a_map_by_shares() -> None:
    assert told(np.array(1), NAMES) == "dog"
    assert told(np.array([[0, 1], [1, 1]]), NAMES) == "dog 75%, cat 25%"


def test_things_are_said_with_how_many_there_are() -> None:
    assert told(np.array([1, 0, 1, NOTHING, NOTHING]), NAMES, in_place=False) == "cat, dog ×2"
    assert told(np.array([NOTHING, NOTHING]), NAMES, in_place=False) == "nothing"
    assert told(np.zeros(0, np.int64), NAMES, in_place=False) == "nothing"
    assert told(np.array([7]), NAMES, in_place=False) == "unknown 7"
    many = told(np.arange(THINGS + 1), NAMES, in_place=False)
    assert (many.count(","), many[-1]) == (THINGS, "…")
