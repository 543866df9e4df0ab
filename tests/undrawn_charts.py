"""Charts that are made and not drawn: drawing them is half of the time of a small whole job."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest


def named_svg(figure: Any, name: str, description: str, head: float = 0.0) -> str:
    return f'<svg class="chart" role="img" aria-label="{name}"></svg>'


@contextmanager
def undrawn() -> Iterator[None]:
    from ssl_dask.report import charts, value_charts

    with pytest.MonkeyPatch.context() as patch:
        for module in (charts, value_charts):
            patch.setattr(module, "to_svg", named_svg)
        yield


@contextmanager
def drawn() -> Iterator[None]:
    """Draw them after all, inside of `undrawn`."""
    from ssl_dask.report import charts, svg_figure, value_charts

    with pytest.MonkeyPatch.context() as patch:
        for module in (charts, value_charts):
            patch.setattr(module, "to_svg", svg_figure.to_svg)
        yield
