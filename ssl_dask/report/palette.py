"""Colours of the classes: told apart by colour-blind eyes where there are few."""

from __future__ import annotations

import math

FEW = ("#0072b2", "#e08a00", "#009e73", "#c15f9a", "#4aa8dd", "#d14b1f", "#7a5bb5", "#8a7a00")
"""Up to eight classes: the hues of M. Okabe and K. Ito's set, moved away from black, white and pale
yellow so that each shows on a white and on a dark page."""

GOLDEN_ANGLE = math.pi * (3.0 - math.sqrt(5.0))


def class_colours(n_classes: int) -> list[str]:
    """Return `n_classes` colours as #rrggbb; beyond eight, names beside the points must help."""
    if n_classes <= len(FEW):
        return list(FEW[:n_classes])
    # Steps of the golden angle keep neighbours far apart; three lightnesses add a second cue.
    return [
        _oklch((0.52, 0.64, 0.74)[c % 3], 0.14, 0.5 + c * GOLDEN_ANGLE) for c in range(n_classes)
    ]


def _oklch(lightness: float, chroma: float, hue: float) -> str:
    """Return an OKLCH colour (B. Ottosson, 2020) as #rrggbb, less colourful where sRGB ends."""
    a, b = chroma * math.cos(hue), chroma * math.sin(hue)
    l_ = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3
    m_ = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3
    s_ = (lightness - 0.0894841775 * a - 1.2914855480 * b) ** 3
    linear = (
        4.0767416621 * l_ - 3.3077115913 * m_ + 0.2309699292 * s_,
        -1.2684380046 * l_ + 2.6097574011 * m_ - 0.3413193965 * s_,
        -0.0041960863 * l_ - 0.7034186147 * m_ + 1.7076147010 * s_,
    )
    if min(linear) < 0.0 or max(linear) > 1.0:
        return _oklch(lightness, chroma * 0.9, hue)
    return "#" + "".join(f"{round(255 * _gamma(value)):02x}" for value in linear)


def _gamma(value: float) -> float:
    return 12.92 * value if value <= 0.0031308 else 1.055 * value ** (1 / 2.4) - 0.055
