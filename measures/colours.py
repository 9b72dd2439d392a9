"""A colour for every class, so that pictures of one report, and of one training, show a class alike.

    colour(3)                                  # (102, 217, 67)

Neighbours differ most: hues go round by the golden angle.
"""

import colorsys

GOLDEN_ANGLE = 0.381966
"""Of a circle: the square of the golden ratio's inverse."""


def colour(label: int) -> tuple[int, int, int]:
    """Return red, green and blue of a class, 0 to 255."""
    parts = colorsys.hsv_to_rgb(label * GOLDEN_ANGLE % 1, 0.85, 0.95)
    return round(255 * parts[0]), round(255 * parts[1]), round(255 * parts[2])
