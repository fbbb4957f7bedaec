"""The figure of the paper's case study: its points are the stored numbers, its hollow marks the faulty ones."""

from pathlib import Path

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from foundation import UserError
from reports.published_figure import main, published_figures
from reports.published_results import net_bias, published_results, published_series


@pytest.fixture(scope="module")
def figures() -> dict[str, Figure]:
    return published_figures()


def panel(figure: Figure, model: str) -> Axes:
    return next(axes for axes in figure.axes if axes.get_title(loc="left").endswith(f", {model}-deduped"))


def marks(axes: Axes, marker: str, *, hollow: bool) -> np.ndarray:
    lines = [line for line in axes.lines if line.get_marker() == marker]
    drawn = [line for line in lines if (line.get_markerfacecolor() == "none") == hollow]
    return np.concatenate([line.get_xydata() for line in drawn]) if drawn else np.empty((0, 2))


@pytest.mark.parametrize(("marker", "value"), [("s", 0.0726), ("D", 0.1111), ("^", 0.0909)])
def test_net_bias_ends_where_the_notebook_has_it(figures: dict[str, Figure], marker: str, value: float) -> None:
    points = marks(panel(figures["net_bias_v1"], "1.4b"), marker, hollow=False)
    assert dict(points)[143_000] == pytest.approx(value, abs=5e-5)


@pytest.mark.parametrize("family", ["v0", "v1"])
def test_every_net_bias_is_drawn_and_nothing_else(figures: dict[str, Figure], family: str) -> None:
    results = published_results()
    table = net_bias(results[results["family"] == family])
    drawn = [
        marks(panel(figures[f"net_bias_{family}"], model.removesuffix("-deduped")), marker, hollow=False)
        for model in dict.fromkeys(table["model"])
        for marker in "sD^"
    ]
    points = np.concatenate(drawn)
    expected = table[["step_equivalent", "net_bias"]].to_numpy()
    assert sorted(map(tuple, points)) == sorted(map(tuple, expected))


def test_the_faulty_values_of_v0_are_hollow_and_v1_has_none(figures: dict[str, Figure]) -> None:
    axes = panel(figures["crows_pairs_gender_v0"], "1.4b")
    hollow = {marker: len(marks(axes, marker, hollow=True)) for marker in "sD^"}
    assert hollow == {"s": 15, "D": 9, "^": 29}
    assert sum(len(marks(axes, marker, hollow=False)) for marker in "sD^") == 9 + 1
    for name in ("net_bias_v0", "net_bias_v1", "crows_pairs_gender_v1"):
        assert all(len(marks(axes, marker, hollow=True)) == 0 for axes in figures[name].axes for marker in "sD^")


def test_the_window_of_the_intervention_is_shaded(figures: dict[str, Figure]) -> None:
    spans = [
        patch.get_extents().transformed(axes.transData.inverted())
        for axes in figures["net_bias_v1"].axes
        for patch in axes.patches
    ]
    assert sorted({round(span.x0) for span in spans}) == [113_000, 133_000]
    assert {round(span.x1) for span in spans} == {143_000}


def test_series_of_other_metrics_are_empty() -> None:
    assert len(published_series("winobias", "pro_preference")) == 0


def test_the_command_writes_svg_and_pdf(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main([f"out={tmp_path / 'new'}"])
    assert len(capsys.readouterr().out.splitlines()) == 8
    assert (tmp_path / "new" / "published_net_bias_v1.svg").read_text().startswith("<?xml")
    assert (tmp_path / "new" / "published_net_bias_v1.pdf").read_bytes().startswith(b"%PDF")


def test_another_argument_is_refused() -> None:
    with pytest.raises(UserError, match="expected out=DIR alone, found here"):
        main(["here"])
