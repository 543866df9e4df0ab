"""Figures: well-formed, small, unique ids, page colours, safe names."""

from __future__ import annotations

import re
from typing import Any
from xml.etree import ElementTree

import matplotlib
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from scipy import sparse
from sklearn.datasets import load_digits

from ssl_dask.decision.calibration import ReliabilityBin
from ssl_dask.report import charts
from ssl_dask.report.palette import class_colours
from ssl_dask.report.picture import PICTURE_ROWS, picture_rows, project_2d
from ssl_dask.report.svg_figure import figure_style, short_name
from ssl_dask.round_record import RoundRecord

NASTY = [
    "<script>alert(1)</script>",
    "$x^2$",
    'a"b id="c"',
    "--><b>",
    "tab\there\x00",
    "日本語",
    "&amp;",
]
ROUNDS = [RoundRecord(i + 1, max(100 - 30 * i, 0), 0.5**i, (1.0,), 0.1) for i in range(6)]


def parsed(svg: str) -> ElementTree.Element:
    root = ElementTree.fromstring(svg.replace("xlink:href", "href"))
    assert root.tag.endswith("svg")
    assert "http" not in re.sub(r'xmlns="[^"]*"', "", svg)
    assert not re.search(r"#0[0-9a-f]0[0-9a-f]0[0-9a-f]", svg)
    return root


def texts(root: ElementTree.Element) -> list[str]:
    return [element.text or "" for element in root.iter("{http://www.w3.org/2000/svg}text")]


def blobs(n: int, n_classes: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    labels = random.integers(-1, n_classes, n)
    points = random.normal(size=(n, 2)) + 3 * np.column_stack([labels % 5, labels // 5])
    return points, labels, (random.random(n) < 0.05) & (labels >= 0)


def drawn_labels(
    points: np.ndarray, labels: np.ndarray, seeds: np.ndarray, names: list[str]
) -> tuple[str, str]:
    return charts.before_and_after(points, labels, seeds, class_colours(len(names)), "label", names)


@pytest.mark.parametrize("n_classes", [2, 10, 26])
def test_two_thousand_points_stay_small(n_classes: int) -> None:
    points, labels, seeds = blobs(2000, n_classes)
    names = [f"class {code}" for code in range(n_classes)]
    before, after = drawn_labels(points, labels, seeds, names)
    assert len(before) + len(after) < 200_000
    for svg, dots in ((before, 2000 + 2 * seeds.sum()), (after, 2000 + 2 * seeds.sum())):
        root = parsed(svg)
        drawn = sum(len(re.findall("h0", e.get("d") or "")) for e in root.iter())
        hollow = (labels < 0).sum() if svg is after else 0
        assert drawn == dots + hollow
    assert set(texts(parsed(after))) == {short_name(name, 16) for name in names}
    assert texts(parsed(before)) == []


def test_colours_show_in_the_picture() -> None:
    points, labels, seeds = blobs(300, 3)
    before, after = drawn_labels(points, labels, seeds, list("abc"))
    for colour in class_colours(3):
        assert colour in after
        assert colour in before
    assert "var(--ink)" in before


def all_figures() -> list[str]:
    points, labels, seeds = blobs(100, len(NASTY))
    shares = [("hidden seeds", 90.0, 55.0, 99.0), ("hidden, baseline", 0.0, 0.0, 41.0)]
    return [
        *drawn_labels(points, labels, seeds, NASTY),
        charts.class_counts_chart(NASTY, [3] * len(NASTY), range(0, 700, 100)),
        charts.abstentions_chart({"tie": 3, "unheard_of": 2}, {"tie": "tie between classes"}),
        charts.convergence_chart(ROUNDS),
        charts.interval_chart(shares, (0, 102), "right, %", name="accuracy", title="Shares"),
        charts.reliability_chart([ReliabilityBin(10, 5, 0.55), ReliabilityBin(90, 88, 0.97)]),
        charts.probability_chart([0] * 18 + [5, 700], 0.8),
    ]


def test_bins_of_few_rows_are_joined_with_their_neighbours() -> None:
    few = [ReliabilityBin(4, 2, 0.5), ReliabilityBin(5, 4, 0.6), ReliabilityBin(3, 3, 0.75)]
    many = ReliabilityBin(30, 29, 0.95)
    # (4 * 0.5 + 5 * 0.6 + 3 * 0.75) / 12
    joined = [ReliabilityBin(12, 9, 7.25 / 12), many]
    assert charts.reliability_chart([*few, many]) == charts.reliability_chart(joined)
    assert charts.reliability_chart([many, few[0]]) != charts.reliability_chart([many])
    assert charts.reliability_chart(few[:1]).count("<use") == charts.reliability_chart(
        [many]
    ).count("<use")


def test_all_words_lie_within_their_figure(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[tuple[Figure, str]] = []
    made = charts.to_svg

    def kept(figure: Figure, name: str, *more: Any) -> str:
        drawn.append((figure, name))
        return made(figure, name, *more)

    monkeypatch.setattr(charts, "to_svg", kept)
    all_figures()
    # Maps of rows have no words around them.
    panels = [(figure, name) for figure, name in drawn if figure.axes[0].axison]
    assert len(panels) == 6
    for figure, name in panels:
        with figure_style():
            box = figure.get_tightbbox(FigureCanvasAgg(figure).get_renderer())
        width, height = figure.get_size_inches()
        # The browser's fonts differ a little from those that are measured here.
        assert box.x0 > -0.03, name
        assert box.y0 > -0.03, name
        assert box.x1 < width + 0.03, name
        assert box.y1 < height + 0.03, name


def test_ids_are_unique_over_all_figures_and_references_hold() -> None:
    seen: list[str] = []
    for svg in all_figures():
        root = parsed(svg)
        ids = [element.get("id") for element in root.iter() if element.get("id")]
        seen += [str(one) for one in ids]
        wanted = re.findall(r'href="#([^"]+)"|url\(#([^)]+)\)', svg)
        assert {a or b for a, b in wanted} <= set(ids)
    assert len(seen) > 100
    assert len(seen) == len(set(seen))


def test_names_of_classes_are_only_text() -> None:
    for svg in all_figures():
        assert "<script" not in svg
        assert "<b>" not in svg
        assert "\x00" not in svg
    shown = texts(parsed(all_figures()[2]))
    for name in NASTY:
        assert short_name(name) in shown


def test_figures_are_the_same_every_time_and_leave_settings_alone() -> None:
    # Matplotlib itself fills in the backend when it is first looked at.
    before = {key: matplotlib.rcParams[key] for key in matplotlib.rcParams if key != "backend"}
    assert all_figures() == all_figures()
    assert {key: matplotlib.rcParams[key] for key in before} == before


def test_many_classes_show_the_largest() -> None:
    names = [f"n{code}" for code in range(200)]
    shown = texts(parsed(charts.class_counts_chart(names, [1] * 200, list(range(200)))))
    assert "n199" in shown
    assert "n0" not in shown


@pytest.mark.parametrize(
    "rounds",
    [
        [RoundRecord(1, 0, 0.0, (1.0,), 0.1)],
        [RoundRecord(1, 10, float("inf"), (1.0,), 0.1), RoundRecord(2, 0, 0.1, (1.0,), 0.1)],
        [RoundRecord(1, 10, float("nan"), (1.0,), 0.1)],
    ],
)
def test_odd_convergence_is_drawn(rounds: list[RoundRecord]) -> None:
    drawing = parsed(charts.convergence_chart(rounds))
    assert len(list(drawing.iter())) > 20


def test_empty_and_constant_pictures() -> None:
    nothing = np.empty((0, 2))
    for points in (nothing, np.zeros((5, 2))):
        n = len(points)
        for svg in drawn_labels(points, np.full(n, -1), np.zeros(n, bool), ["a"]):
            assert len(list(parsed(svg).iter())) > 5
    for svg in (charts.class_counts_chart(["a"], [0], [0]), charts.probability_chart([1], None)):
        assert len(list(parsed(svg).iter())) > 5


def test_projection_equals_the_textbook() -> None:
    X = load_digits().data.astype(np.float32)
    points = project_2d(X)
    centred = X.astype(np.float64) - X.mean(axis=0, dtype=np.float64)
    _, _, axes = np.linalg.svd(centred, full_matrices=False)
    wanted = centred @ axes[:2].T
    signs = np.sign((wanted * points).sum(axis=0))
    np.testing.assert_allclose(points, wanted * signs, atol=1e-6)
    np.testing.assert_array_equal(points, project_2d(X))
    np.testing.assert_allclose(project_2d(sparse.csr_array(X)), points, atol=1e-6)


def test_projection_of_little() -> None:
    assert project_2d(np.ones((5, 3), np.float32)).tolist() == [[0, 0]] * 5
    assert project_2d(np.ones((1, 3), np.float32)).tolist() == [[0, 0]]
    line = project_2d(np.array([[1.0], [2.0], [4.0]], np.float32))
    assert (line[:, 1] == 0).all()
    assert np.ptp(line[:, 0]) == pytest.approx(3.0)
    two = project_2d(sparse.csr_array(np.array([[1.0, 0], [0, 1], [1, 1]], np.float32)))
    assert np.ptp(two, axis=0).min() > 0


def test_rows_for_the_picture() -> None:
    seeds = np.arange(0, 100_000, 1000)
    rows = picture_rows(10**9, seeds)
    assert len(rows) == PICTURE_ROWS
    assert (np.diff(rows) > 0).all()
    assert np.isin(seeds, rows).all()
    assert rows.max() > 9 * 10**8
    np.testing.assert_array_equal(rows, picture_rows(10**9, seeds))
    assert picture_rows(30, seeds[:0]).tolist() == list(range(30))
    assert len(picture_rows(2001, seeds[:2])) == 2000
    many = picture_rows(50_000, np.arange(0, 50_000, 10))
    assert len(many) == 2000
    assert np.isin(many, np.arange(0, 50_000, 10)).sum() == 1000


@pytest.mark.parametrize("n", [1, 8, 9, 26, 60])
def test_colours_are_distinct(n: int) -> None:
    colours = class_colours(n)
    assert len(set(colours)) == n
    assert all(re.fullmatch("#[0-9a-f]{6}", colour) for colour in colours)
    numbers = np.array([[int(c[i : i + 2], 16) for i in (1, 3, 5)] for c in colours], float)
    if 1 < n <= 26:
        gaps = np.abs(numbers[:, None] - numbers[None]).sum(axis=2)
        assert gaps[~np.eye(n, dtype=bool)].min() > 20
