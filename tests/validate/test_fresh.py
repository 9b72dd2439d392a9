"""Inputs made anew: of golden's, by a seed, with PyTorch's own answers; and golden that PyTorch does not confirm."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from export.run import Run
from measures.distance import floor_of
from records.errors import BadInput
from records.golden import ORACLE, OUTPUT, Golden, flat
from tests.conftest import Said
from tests.measures.test_detection import A, B, found
from validate import fresh
from workers import registry

REPORT = Path("runs/tiny/report/report.json")


@pytest.fixture
def golden() -> Golden:
    random = np.random.default_rng(0)
    images = random.random((16, 3, 8, 8)).astype(np.float32)
    tokens = random.integers(0, 100, (16, 5))
    return Golden({"image": images, "tokens": tokens}, {}, {}, {})


def test_they_are_the_same_of_one_seed_and_others_of_another(golden: Golden) -> None:
    first, again, other = (fresh.made(golden, seed) for seed in (1, 1, 2))
    for name, values in golden.inputs.items():
        assert (first[name] == again[name]).all()
        assert not (first[name] == other[name]).all()
        assert (first[name].dtype, first[name].shape[1:]) == (values.dtype, values.shape[1:])
        assert values.min() <= first[name].min() <= first[name].max() <= values.max()
        assert not any((row == values).reshape(16, -1).all(axis=1).any() for row in first[name])


def test_integers_are_chosen_from_what_golden_has(golden: Golden) -> None:
    for row in fresh.made(golden, 3)["tokens"]:
        assert all(token in golden.inputs["tokens"][:, place] for place, token in enumerate(row))


def test_another_seed_is_taken_each_time_unless_one_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    seeds = {fresh.seed_of(0) for _ in range(8)}
    assert len(seeds) == 8
    assert 0 not in seeds
    assert fresh.seed_of(5) == 5


def answered(change: Callable[[Golden], Golden] = lambda golden: golden, seed: int = 1) -> Any:
    run = Run.open("tiny")
    return fresh.answered(run, change(run.checkpoint.golden()), seed, registry.find(), 1)


def test_the_oracle_is_put_in_the_order_of_what_was_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two boxes of almost one score change places in double precision: no floor is as wide as they are apart."""
    twin = (B[0], A[1] - 1e-8, B[2])
    once, wide = found(A, twin), found(twin, A)
    few = {name: np.concatenate([values] * 2) for name, values in once.items()}
    golden = Golden({"image": np.zeros((2, 3, 4, 4), np.float32)}, few, few, {})
    asked = {name: np.concatenate([values] * (fresh.SAMPLES + 1)) for name, values in once.items()}
    turned = {name: np.concatenate([values] * (fresh.SAMPLES + 1)) for name, values in wide.items()}
    monkeypatch.setattr(fresh, "_answers", lambda *_: (flat({OUTPUT: asked, ORACLE: turned}), ""))
    checkpoint = SimpleNamespace(task="detection", decoding={"score": 0.05, "iou": 0.5})
    run: Any = SimpleNamespace(name="boxes", checkpoint=checkpoint)
    given, warnings = fresh.answered(run, golden, 1, {}, 1)
    assert given and not warnings
    assert floor_of(given.outputs["boxes"], given.oracle["boxes"]) < 1e-3


def test_pytorch_answers_for_them(workplace: Path) -> None:
    inputs, warnings = answered()
    assert warnings == []
    assert inputs.outputs["logits"].shape == inputs.oracle["logits"].shape == (fresh.SAMPLES, 10)
    assert (inputs.outputs["logits"].dtype, inputs.oracle["logits"].dtype) == (np.float32, np.float64)
    apart = np.abs(inputs.outputs["logits"] - inputs.oracle["logits"]).max()
    assert 0 < apart < 1e-4
    assert not list(Path("runs/tiny/report/actual").glob("reference*"))


def oracle_moved(golden: Golden) -> Golden:
    """One value, which would widen every tolerance."""
    oracle = golden.oracle["logits"].copy()
    oracle[40, 3] += 0.01
    return dataclasses.replace(golden, oracle={"logits": oracle})


def oracle_noisy(golden: Golden) -> Golden:
    """All values alike."""
    noise = np.random.default_rng(0).normal(scale=1e-3, size=golden.oracle["logits"].shape)
    return dataclasses.replace(golden, oracle={"logits": golden.oracle["logits"] + noise})


def of_another_model(golden: Golden) -> Golden:
    """Outputs and oracle half a per cent greater, as near to one another as before."""
    return dataclasses.replace(
        golden, outputs={"logits": golden.outputs["logits"] * np.float32(1.005)},
        oracle={"logits": golden.oracle["logits"] * 1.005},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (oracle_moved, "logits's oracle lies 0.01 from it, and this checkpoint's program gives"),
        (oracle_noisy, "every tolerance would be"),
        (of_another_model, "which rounding does not explain"),
    ],
)
def test_golden_that_the_program_does_not_give_is_refused(
    workplace: Path, change: Callable[[Golden], Golden], sentence: str
) -> None:
    with pytest.raises(BadInput, match=sentence):
        answered(change)


@pytest.mark.slow
def test_a_report_states_the_seed_and_the_same_seed_can_be_asked_for(
    at_home: Path, command: Callable[..., Said]
) -> None:
    said = command("validate", "tiny", "--calls", "1", "--seed", "11")
    assert said.status == 0, said.err
    report = json.loads(REPORT.read_text())
    assert report["settings"]["seed"] == 11
    made = [probe for result in report["results"] for probe in result["probes"] if probe["name"] == "made anew"]
    assert len(made) == len(report["results"])


def test_a_model_without_a_program_says_that_nothing_was_proved_on_them(
    workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fresh, "_asked", lambda *_: ({}, "the checkpoint has no program"))
    inputs, (warning,) = answered(seed=2)
    assert inputs is None
    assert warning.startswith("nothing was proved on inputs made anew, for PyTorch gave no outputs for them: the")
