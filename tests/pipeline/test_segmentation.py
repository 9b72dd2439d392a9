"""Dice is of what is known: it counts the classes that are there, each as much as the other."""

import pytest
import torch

from measures.tasks.segmentation import VOID
from pipeline.tasks.segmentation import dice

SURE = 50.0
CLASSES = torch.tensor([[[0, 0, 0, 1], [0, 0, 1, 1]]])  # of 8 pixels 5 and 3


def logits(classes: torch.Tensor, count: int = 3) -> torch.Tensor:
    """What a model that is sure of these classes (N, H, W) gives: (N, K, H, W)."""
    return SURE * torch.nn.functional.one_hot(classes, count).movedim(-1, 1).float()


def test_dice_is_one_where_all_is_right_whatever_classes_there_are() -> None:
    assert dice(logits(CLASSES), CLASSES).item() == pytest.approx(1.0)


def test_dice_is_the_mean_of_the_classes_that_are_there() -> None:
    found = torch.zeros_like(CLASSES)  # all pixels the first class
    expected = ((2 * 5 + 1) / (8 + 5 + 1) + (0 + 1) / (0 + 3 + 1)) / 2
    assert dice(logits(found), CLASSES).item() == pytest.approx(expected)


def test_void_pixels_are_left_out_of_dice() -> None:
    some = CLASSES.clone()
    some[0, 0] = VOID
    wrong_there = CLASSES.clone()
    wrong_there[0, 0] = 2
    assert dice(logits(wrong_there), some).item() == pytest.approx(1.0)


def test_dice_leads_to_the_truth() -> None:
    guess = torch.zeros(1, 3, 2, 4, requires_grad=True)
    (1 - dice(guess, CLASSES)).backward()
    assert guess.grad is not None
    pulled = guess.grad.gather(1, CLASSES[:, None])
    assert (pulled < 0).all()
