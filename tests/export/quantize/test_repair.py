"""What a repair tries, in which order, what it keeps, and that it ships what it measured."""

from collections.abc import Callable

import numpy as np
import pytest

from export.quantize import repair
from export.quantize.repair import Kept, Score
from measures import tasks

CLASSES = tasks.load("classification")
WEIGHTS = {"a": 100, "b": 100_000, "c": 0, "d": 5_000}
NOISE_DB = {"a": 40.0, "b": 8.0, "c": 10.0, "d": 12.0}
METHODS = ["extremes", "squares"]
Attempt = Callable[[str, Kept], tuple[Score, str]]


def alone(layer: str) -> float:
    return NOISE_DB[layer]


def attempts(narrower: float = 0.0, slower: float = 1.0) -> tuple[Attempt, list[tuple[str, Kept]]]:
    """Return an attempt, in which noise of single layers adds up, and what it was asked for.

    A layer in float32 takes four times its bytes and has no noise; one of 16 bits has a thousandth of its noise, and
    takes longer. Squares are some dB better than extremes.
    """
    asked: list[tuple[str, Kept]] = []

    def attempt(method: str, kept: Kept) -> tuple[Score, str]:
        asked.append((method, kept))
        parts = {layer: 10 ** (-ratio / 10) for layer, ratio in NOISE_DB.items() if layer not in kept.float32}
        noise = sum(value * (0.001 if layer in kept.bits16 else 1) for layer, value in parts.items())
        size = sum(weights * (4 if layer in kept.float32 else 1) for layer, weights in WEIGHTS.items())
        ratio = (float(-10 * np.log10(noise)) if noise else 300.0) + (narrower if method == "squares" else 0)
        return Score(
            ratio, 1.0, 64, size, 1.0 + slower * len(kept.bits16)
        ), f"{method} {kept.words} {asked.index((method, kept))}"

    return attempt, asked


def test_better_ranges_come_first() -> None:
    attempt, asked = attempts(narrower=25.0)
    found = repair.repair(WEIGHTS, alone, attempt, METHODS, float_ms=3.0)
    assert asked == [("extremes", Kept()), ("squares", Kept())]
    assert (found.best.method, found.best.kept) == ("squares", Kept())
    assert found.sentence.startswith("ranges by squares: SQNR on 64 calibration samples that set no range")


def test_then_as_few_layers_as_will_do_have_16_bits_in_the_better_ranges() -> None:
    attempt, asked = attempts(narrower=1.0)
    found = repair.repair(WEIGHTS, alone, attempt, METHODS, float_ms=3.0)
    assert found.best.kept == Kept(bits16=("b", "c", "d"))
    assert {method for method, kept in asked if kept} == {"squares"}
    assert not attempt("squares", Kept(bits16=("b", "c")))[0].meets
    assert all(not kept.float32 for _, kept in asked)
    assert "3 in 16 bits of 4 layers: SQNR" in found.sentence
    assert "one sample 1.00 → 4.00 ms" in found.sentence


@pytest.mark.parametrize(("float_ms", "slower", "attempted"), [(None, 1.0, []), (2.0, 4.0, [1]), (2.0, 1.2, [1, 2, 4])])
def test_then_as_few_as_will_do_stay_in_float32_the_most_harmful_for_their_size_first(
    float_ms: float | None, slower: float, attempted: list[int]
) -> None:
    """Where the format has no 16 bits, and where they would take more than twice as long as float32: no more of them
    are tried then."""
    attempt, asked = attempts(slower=slower)
    found = repair.repair(WEIGHTS, alone, attempt, METHODS, float_ms)
    assert found.best.kept == Kept(float32=("c", "d", "b"))
    assert not attempt("extremes", Kept(float32=("c", "d")))[0].meets
    assert sorted({len(kept.bits16) for _, kept in asked if kept.bits16} - {3}) == attempted
    assert "3 in float32 of 4 layers: SQNR on 64 calibration samples" in found.sentence
    assert "size 0.11 → 0.42 MB" in found.sentence
    assert len(set(asked)) == len(found.steps), "nothing is tried twice"


def test_what_ships_is_the_model_that_was_measured() -> None:
    attempt, asked = attempts()
    found = repair.repair(WEIGHTS, alone, attempt, METHODS, float_ms=3.0)
    number = asked.index((found.best.method, found.best.kept))
    assert found.model == f"{found.best.method} {found.best.kept.words} {number}"
    facts = repair.details(found.best.kept, [], found)
    assert facts["keep_16"] == list(found.best.kept.bits16)
    assert facts["repair"]["curve"][facts["repair"]["ships"]]["sqnr_db"] == round(found.best.score.sqnr_db, 1)
    assert len(facts["repair"]["curve"]) == len(found.steps)


def test_what_meets_the_tolerance_is_left_as_it_is() -> None:
    found = repair.repair({"a": 100}, alone, lambda method, kept: (Score(40.0, 1.0, 64, 1), 7), METHODS, float_ms=3.0)
    assert (found.best.kept, len(found.steps), found.model) == (Kept(), 1, 7)
    assert found.sentence.startswith("needs no repair: ")


def test_a_repair_that_does_not_help_is_not_made() -> None:
    def attempt(method: str, kept: Kept) -> tuple[Score, str]:
        return Score(20.0 + len(kept.float32) / 10, 1.0, 64, 1), kept.words

    found = repair.repair(WEIGHTS, alone, attempt, METHODS, float_ms=3.0)
    assert (found.best, found.model) == (found.steps[0], "none")
    assert found.sentence == (
        "no repair reaches 26 dB with 99% of the decisions, so none is made: the nearest, 4 in float32 of 4 layers, "
        "has 20.4 dB and 1.0000"
    )
    assert repair.details(found.best.kept, [], found)["keep_float"] == []
    assert repair.details(found.best.kept, [], found)["repair"]["meets"] is False


def test_a_model_that_cannot_be_had_in_16_bits_is_worth_nothing() -> None:
    attempt, _ = attempts()

    def refused(method: str, kept: Kept) -> tuple[Score, str | None]:
        return (Score(float("nan"), 0.0, 64, 0), None) if kept.bits16 else attempt(method, kept)

    found = repair.repair(WEIGHTS, alone, refused, METHODS, float_ms=3.0)
    assert found.best.kept.float32
    assert [step["sqnr_db"] for step in repair.details(found.best.kept, [], found)["repair"]["curve"]].count(None) == 3


def test_what_is_kept_in_any_case_is_kept_in_every_attempt() -> None:
    attempt, asked = attempts()
    base = Kept(float32=("b",))
    found = repair.repair(WEIGHTS, alone, attempt, METHODS, float_ms=1.0, base=base)
    assert all("b" in kept.float32 and "b" not in kept.bits16 for _, kept in asked)
    assert found.steps[0].kept == base
    assert found.best.kept == Kept(float32=("b", "c", "d"))
    enough = repair.repair(WEIGHTS, alone, attempt, METHODS, base=Kept(float32=("b", "c", "d")))
    assert enough.sentence.startswith("needs no further repair: ")


def test_decisions_count_as_much_as_noise() -> None:
    assert not Score(40.0, 0.9, 64, 1).meets
    assert Score(40.0, 63 / 64, 64, 1).meets  # one sample is no hundredth
    assert not Score(float("nan"), 1.0, 64, 1).meets


def test_a_score_counts_decisions_and_survives_what_is_no_number() -> None:
    reference = {"logits": np.eye(4, dtype=np.float32)}
    turned = {"logits": np.eye(4, dtype=np.float32)[[0, 1, 3, 2]]}
    assert repair.score(turned, reference, CLASSES, 7) == Score(pytest.approx(0.0), 0.5, 4, 7)
    assert not repair.score({"logits": np.full((4, 4), np.nan, np.float32)}, reference, CLASSES, 7).meets


def test_a_score_leaves_out_the_strangest_hundredth_as_the_tolerance_does() -> None:
    reference = {"logits": np.ones((200, 4), np.float32)}
    actual = {"logits": np.ones((200, 4), np.float32) * 1.001}
    actual["logits"][:2] = 50
    assert repair.score(actual, reference, CLASSES, 7).sqnr_db == pytest.approx(60, abs=0.1)


def test_halves_share_no_sample() -> None:
    first, second = repair.divided({"image": np.arange(7)})
    assert sorted([*first["image"], *second["image"]]) == list(range(7))
