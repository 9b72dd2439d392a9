"""Which values a range holds: by what reads the tensor, by most samples, and by what the other half says."""

import numpy as np
import pytest

from export.quantize.ranges import (
    CHANCE_DB,
    FUNCTIONS,
    METHODS,
    Ranges,
    Seen,
    Worth,
    chosen,
    observe,
    quantized,
    ranges,
    readers,
)
from measures import tasks
from records.tensor import Array, Arrays

CLASSES = tasks.load("classification")
RNG = np.random.default_rng(0)


def seen(values: Array) -> Seen:
    return observe([(len(values), {"x": values})])["x"]


WIDE = seen(RNG.normal(size=(64, 4000)) * 8)
STRANGE = seen(np.concatenate([RNG.normal(size=(63, 400)), RNG.normal(size=(1, 400)) * 1000]))


def test_the_extremes_are_those_of_all_values_not_of_those_that_are_kept() -> None:
    values = np.zeros((2, 10_000), np.float32)
    values[0, 1234], values[1, 77] = -5, 9
    assert METHODS["extremes"](seen(values), ()) == (-5, 9)


@pytest.mark.parametrize(
    ("function", "least"), [("hard_swish", -4), ("hard_sigmoid", -4), ("silu", -12), ("gelu", -5), ("relu6", 0)]
)
def test_a_range_ends_where_what_reads_it_tells_no_more_apart(function: str, least: float) -> None:
    low, high = METHODS["response"](WIDE, [function])
    assert low >= least
    if function not in {"hard_sigmoid", "relu6"}:
        assert high > 20
    exact, some = FUNCTIONS[function], WIDE.some
    errors = [
        float(np.square(exact(quantized(some, *ends)) - exact(some)).mean())
        for ends in ((low, high), METHODS["extremes"](WIDE, ()))
    ]
    assert errors[0] < errors[1]


def test_of_a_tensor_that_is_read_as_it_is_nothing_is_cut_off_for_its_readers_sake() -> None:
    assert METHODS["response"](WIDE, ["itself", "silu"]) == METHODS["extremes"](WIDE, ())
    assert METHODS["response"](WIDE, []) == METHODS["extremes"](WIDE, ())


def test_one_strange_sample_does_not_set_the_range_of_most() -> None:
    assert METHODS["extremes"](STRANGE, ())[1] > 1000
    low, high = METHODS["most"](STRANGE, ())
    assert -6 < low < -2.5 and 2.5 < high < 6


@pytest.mark.parametrize("method", METHODS)
def test_a_tensor_of_one_value_has_a_range(method: str) -> None:
    for value in (0.0, 3.0, -2.0):
        low, high = METHODS[method](seen(np.full((8, 5), value, np.float32)), ["silu"])
        assert low <= high and np.isfinite([low, high]).all()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("values", [RNG.uniform(size=(8, 400)), -RNG.uniform(size=(8, 400)), WIDE.some])
def test_no_range_is_without_width_where_values_differ(method: str, values: Array) -> None:
    low, high = METHODS[method](seen(values), ["itself"])
    assert high - low > 0.8 * np.abs(values).max() / 4


def test_what_a_maximum_is_padded_with_sets_no_range() -> None:
    values = RNG.normal(size=(8, 40)).astype(np.float32)
    values[:, 0], values[:, 1], values[:, 2] = -np.inf, np.finfo(np.float32).min, np.nan
    assert METHODS["extremes"](seen(values), ()) == (values[:, 3:].min(), values[:, 3:].max())


def test_readers_know_a_product_with_the_own_sigmoid_in_both_formats() -> None:
    for sigmoid, product, swish in (("Sigmoid", "Mul", "HardSwish"), ("LOGISTIC", "MUL", "HARD_SWISH")):
        operators = [
            (sigmoid, ["x"], ["gate"]),
            (product, ["x", "gate"], ["y"]),
            (swish, ["y"], ["z"]),
            (product, ["z", "x"], ["out"]),
        ]
        assert readers(operators) == {
            "x": ["silu", "itself"],
            "gate": ["itself"],
            "y": ["hard_swish"],
            "z": ["itself"],
        }


def test_the_method_is_the_one_whose_worse_half_is_best() -> None:
    """The strange sample is in one half: the extremes of the other look as good, and would not be with it."""
    calm = seen(RNG.normal(size=(63, 400)))
    halves = {"x": calm}, {"x": STRANGE}
    samples = RNG.normal(size=(40, 6)).astype(np.float32)

    def quantize(given: Ranges) -> Ranges:
        return given

    def worth(model: Ranges, half: int) -> Worth:
        actual = {"logits": quantized(samples, *model["x"]).astype(np.float32)}
        return Worth.of(actual, {"logits": samples}, CLASSES)

    choice = chosen(halves, {}, quantize, worth)
    assert choice.method in {"most", "squares of most"}
    both = [
        min(worth(ranges(half, {}, method), 1 - number) for number, half in enumerate(halves)) for method in METHODS
    ]
    assert not max(both).beyond_chance(choice.worths[choice.method])  # though not all were asked
    assert max(both).beyond_chance(both[0])
    assert choice.models == tuple(ranges(half, {}, choice.method) for half in halves)


@pytest.mark.parametrize(("gain", "method"), [(CHANCE_DB - 0.1, "extremes"), (CHANCE_DB + 0.1, "most")])
def test_what_chance_may_decide_leaves_the_method_that_cuts_off_least(gain: float, method: str) -> None:
    worths = {"extremes": Worth(True, True, 30.0), "most": Worth(True, True, 30.0 + gain)}
    known = {METHODS[name](STRANGE, ()): worth for name, worth in worths.items()}
    halves = {"x": STRANGE}, {"x": STRANGE}
    choice = chosen(halves, {}, lambda ends: ends, lambda ends, half: known[ends["x"]], tuple(worths))
    assert choice.method == method


def test_the_other_half_of_methods_that_could_not_be_chosen_is_not_asked() -> None:
    asked = []

    def quantize(ends: Ranges) -> Ranges:
        asked.append(ends)
        return ends

    halves = {"x": STRANGE}, {"x": STRANGE}
    choice = chosen(halves, {"x": ["silu"]}, quantize, lambda ends, half: Worth(True, True, 30.0))
    assert choice.method == "extremes"
    assert len(asked) == len({METHODS[method](STRANGE, ["silu"]) for method in METHODS}) + 1


def test_a_model_that_may_be_released_is_worth_more_whatever_the_decibels() -> None:
    assert Worth(True, True, 20.0).beyond_chance(Worth(True, False, 50.0))


def outputs(noise: float, strange: float = 0.0) -> tuple[Arrays, Arrays]:
    golden = RNG.normal(size=(200, 5)).astype(np.float32) + 4 * np.eye(5, dtype=np.float32)[np.arange(200) % 5]
    actual = golden + RNG.normal(size=golden.shape).astype(np.float32) * noise
    actual[:1] += strange
    return {"logits": actual}, {"logits": golden}


def test_worth_asks_what_the_validation_will_ask_then_how_near_most_samples_lie() -> None:
    near, strange, far = (Worth.of(*outputs(*arguments), CLASSES) for arguments in ((0.01,), (0.01, 100.0), (0.3,)))
    assert near.agrees and near.near and near.typical_db > 30
    assert strange.near and strange.typical_db > 30  # one in a hundred is left out
    assert not far.near
    assert far < strange


def test_a_value_that_is_no_number_is_worth_nothing() -> None:
    actual, golden = outputs(0.01)
    actual["logits"][3, 2] = np.nan
    assert Worth.of(actual, golden, CLASSES) == Worth(False, False, -np.inf)
