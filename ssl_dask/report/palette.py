"""Colours of classes, told apart by colour-blind eyes where there are few, and of numbers."""

from __future__ import annotations

import math

FEW = (
    "#0072b2",
    "#e08a00",
    "#009e73",
    "#d977b0",
    "#4aa8dd",
    "#d14b1f",
    "#6a4fb3",
    "#8a8a00",
    "#7a4a2b",
    "#7ccb4f",
)
"""Up to ten classes: the hues of M. Okabe and K. Ito's set and three more, moved away from black,
white and pale yellow so that each shows on a white and on a dark page."""

SCALE = ("#4a55c4", "#3f80d0", "#2fa3bd", "#35b183", "#79b84a", "#bdb02f", "#e08f2b", "#dd5f2a")
"""From low numbers to high ones; each shows on a white and on a dark page."""

LIGHTNESS = (0.50, 0.63, 0.76)


def class_colours(n_classes: int) -> list[str]:
    """Return `n_classes` colours as #rrggbb; beyond ten, names beside the points must help."""
    if n_classes <= len(FEW):
        return list(FEW[:n_classes])
    # Evenly around the circle of hues; neighbours there differ in lightness, and a stride that
    # visits every place once keeps neighbouring classes far apart.
    strides = range(round(0.38 * n_classes), n_classes)
    stride = next(step for step in strides if math.gcd(step, n_classes) == 1)
    places = [code * stride % n_classes for code in range(n_classes)]
    return [_oklch(LIGHTNESS[at % 3], 0.14, 0.5 + 2 * math.pi * at / n_classes) for at in places]


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
