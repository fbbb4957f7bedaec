"""Figures: the data they show, their ids and colours, and that nothing but the data decides them."""

import re
from pathlib import Path

import matplotlib
import pandas as pd
import pytest
from matplotlib.figure import Figure

from fake_run import write_fake_run
from reports import figures
from reports.results import Results, read_results, swaps_by_form


@pytest.fixture
def found(tmp_path: Path) -> Results:
    return read_results(write_fake_run(tmp_path))


def every_figure(found: Results) -> dict[str, Figure]:
    return {
        "intervals": figures.interval_figure(found.headlines),
        "loss": figures.loss_figure(found.journals),
        "occupations": figures.occupations_figure(found.occupations, later="after"),
        "swaps": figures.swaps_figure(swaps_by_form(found.swaps)),
    }


def every_svg(found: Results) -> dict[str, str]:
    return {name: figures.to_svg(figure, prefix=name, label=name) for name, figure in every_figure(found).items()}


def test_ids_are_unique_across_the_figures_of_a_page_and_every_reference_is_met(found: Results) -> None:
    page = "".join(every_svg(found).values())
    ids = re.findall(r'\bid="([^"]+)"', page)
    references = re.findall(r'url\(#([^)]+)\)|href="#([^"]+)"', page)
    assert len(ids) == len(set(ids)) > 0
    assert {a or b for a, b in references} <= set(ids)


def test_the_same_data_give_the_same_bytes(found: Results) -> None:
    assert every_svg(found) == every_svg(found)


def test_a_users_matplotlib_settings_neither_matter_nor_change(found: Results) -> None:
    expected = every_svg(found)
    with matplotlib.rc_context({"font.size": 30, "axes.facecolor": "red", "svg.hashsalt": "x", "lines.linewidth": 9}):
        assert every_svg(found) == expected
        assert matplotlib.rcParams["font.size"] == 30


def test_every_colour_is_a_variable_of_the_page(found: Results) -> None:
    for svg in every_svg(found).values():
        assert not re.findall(r"(?<!, )#[0-9a-fA-F]{6}", svg)
        assert "var(--ink, #1d1c1a)" in svg


def test_text_stays_text_and_takes_the_pages_font(found: Results) -> None:
    svg = every_svg(found)["intervals"]
    assert ">Stereotypical pronoun preferred</text>" in svg
    assert "var(--figure-font, sans-serif)" in svg
    assert "DejaVu" not in svg
    assert "<style" not in svg


def test_the_line_through_the_terms_has_their_slope_and_occupations_without_a_share_of_women_are_left_out(
    tmp_path: Path,
) -> None:
    found = read_results(write_fake_run(tmp_path, association=True))
    axes = figures.association_figure(found.occupations).axes[0]
    lines = [line.get_xydata() for line in axes.lines if len(line.get_xydata()) == 2]
    slopes = [(y1 - y0) / (x1 - x0) for (x0, y0), (x1, y1) in lines]
    assert slopes == pytest.approx([1.2 / 3, 0.4 / 3, 1.19 / 3])
    assert figures.occupation_means(found.occupations["before"])["pct_female"].notna().all()


def test_labels_are_escaped(found: Results) -> None:
    svg = figures.to_svg(figures.loss_figure(found.journals), prefix="a", label='"><script>')
    assert 'aria-label="&quot;&gt;&lt;script&gt;"' in svg


def test_intervals_and_the_neutral_line_stand_where_the_numbers_say(found: Results) -> None:
    metric = next(metric for metric in found.headlines if metric.name == "gender_pct_stereotype")
    axes = figures.interval_figure([metric]).axes[0]
    lines = [[float(x) for x in line.get_xdata()] for line in axes.lines]  # type: ignore[union-attr]
    expected = [[0.5, 0.5]]
    for level in metric.levels.values():
        assert level.low is not None
        assert level.high is not None
        expected += [[level.low, level.high], [level.value]]
    assert lines == expected


def test_a_long_loss_curve_is_thinned_to_means() -> None:
    journal = pd.DataFrame({"step": range(1000), "loss_other": [1.0, 3.0, None, 2.0] * 250})
    points = figures.thinned(journal)
    assert figures.steps_per_point(journal) == 4
    assert points["loss_other"].tolist() == [2.0] * 250
    assert points["step"].iloc[0] == 1.5


def test_occupations_are_means_over_templates(found: Results) -> None:
    rows = found.occupations["before"]
    means = figures.occupation_means(rows)
    assert len(means) == 100
    one = rows[(rows["source"] == "winobias") & (rows["occupation"] == "occupation 7")]
    assert means.loc[("winobias", "occupation 7"), "log_odds_she"] == pytest.approx(one["log_odds_she"].mean())


def test_bars_add_up_to_the_occurrences(found: Results) -> None:
    totals = swaps_by_form(found.swaps)
    bars = figures.swaps_figure(totals).axes[0].patches
    assert sum(bar.get_width() for bar in bars) == totals["occurrences"].head(figures.MOST_FORMS).sum()  # type: ignore[attr-defined]


@pytest.mark.parametrize(("suffix", "magic"), [("png", b"\x89PNG"), ("svg", b"<?xml"), ("pdf", b"%PDF")])
def test_figures_are_saved_in_every_format_and_alike(found: Results, tmp_path: Path, suffix: str, magic: bytes) -> None:
    paths = [tmp_path / f"{name}.{suffix}" for name in "ab"]
    for path in paths:
        figures.save_figure(figures.interval_figure(found.headlines[:1]), path)
    assert paths[0].read_bytes().startswith(magic)
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_the_fidelity_figure_says_where_arms_ended_at_the_true_checkpoint() -> None:
    table = pd.DataFrame(
        [
            {"step": step, "arm": source.replace("_", " "), "distance": distance}
            for step, source, distance in (
                (128, "exact", 0.0),
                (128, "previous_checkpoint", 0.0),
                (448, "exact", 0.0),
                (448, "previous_checkpoint", 0.01),
            )
        ]
    )
    svg = figures.to_svg(figures.fidelity_figure(table), prefix="fidelity", label="fidelity")
    assert "0, bitwise equal" in svg
    assert "0 from 128" in svg
    assert ">previous checkpoint<" in svg
