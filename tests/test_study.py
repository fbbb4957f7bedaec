"""The page of a study: its numbers, its corrections, its safety, its size, and its tables as files."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from fake_run import PRIMARY, write_fake_run
from foundation import UserError
from reports import write_study
from reports.arms import Arm, arms_of
from reports.results import read_results
from reports.study import main
from reports.study_page import answers, question, study_figures_of
from reports.study_tables import Table, corrected, effect_table, suite_table, to_latex, to_markdown
from test_collect import finished
from test_html import CHROMIUM, Page, widths_measured

DOSES, SUITES = (0.25, 0.5, 1.0), (0, 1)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three doses by two suites, an unfinished run, and the page."""
    directory = tmp_path_factory.mktemp("study")
    for dose in DOSES:
        for suite in SUITES:
            changes = {"config.model.pretraining": {"seed": suite}, "checkpoint.sha256": f"{suite}"}
            first = (dose, suite) == (1.0, 0)
            run = finished(directory / f"{dose}-{suite}", fraction=dose, optional=first, changes=changes)
            summary = pd.read_csv(run / "summary.csv")
            after = (summary["metric"] == "share_she") & (summary["moment"] == "after")
            summary.loc[after, "value"] = 0.2 + 0.7 * dose + 0.01 * suite * dose
            summary.to_csv(run / "summary.csv", index=False)
    write_fake_run(directory / "killed", optional=False)
    write_study(directory)
    return directory


def test_where_no_primary_metric_was_asked_for_no_tests_are_told(study: Path) -> None:
    checked_alone = [
        replace(arm, results=replace(arm.results, metrics=[arm.results.checked, arm.results.judged]))
        for arm in arms(study)
    ]
    assert answers(checked_alone) == ["Manipulation check of 6 arms: taken: 6."]


def arms(directory: Path) -> list[Arm]:
    return arms_of([read_results(path.parent) for path in sorted(directory.glob("*-*/run.json"))])


def test_the_page_has_every_part_and_names_what_was_left_out(study: Path) -> None:
    page = Page((study / "study.html").read_text("utf-8"))
    assert page.unclosed == []
    headings = ["Design", "Did the interventions take?", "Effects", "Dose-response", "Arm by arm"]
    assert all(heading in page.text for heading in headings)
    assert "Left out: killed, as it is running, not finished" in page.text
    assert page.text.count("python run.py intervention=masculine_to_feminine") >= 2 * len(DOSES) * len(SUITES)
    assert all(svg["role"] == "img" and svg["aria-label"] for svg in page.tags("svg"))


def test_p_is_corrected_over_all_arms_and_primary_metrics(study: Path) -> None:
    family = corrected(arms(study))
    assert len(family) == 6 * len(PRIMARY)
    raw = {
        (arm.key, metric.benchmark, metric.name): metric.changes["after-control"].p or 0.0
        for arm in arms(study)
        for metric in arm.primary
    }
    assert min(family.values()) == pytest.approx(min(1.0, 18 * min(raw.values())))
    assert all(family[key] >= p for key, p in raw.items())


def test_the_answer_counts_verdicts_and_what_is_left_after_correction(study: Path) -> None:
    told = answers(arms(study))
    assert told[0] == "Manipulation check of 6 arms: taken: 6."
    left = sum(p < 0.05 for p in corrected(arms(study)).values())
    assert f"Of 18 tests of primary metrics {left} remain" in told[-1]
    assert (
        question(arms(study))
        == "What does masculine to feminine in steps 448 to 512 change in the gender bias of demo?"
    )


def test_effects_stand_beside_their_intervals_and_what_could_have_been_seen(study: Path) -> None:
    rows = {(row[0], row[1]): row for row in effect_table(arms(study)).rows}
    row = rows["CrowS-Pairs: gender pct stereotype", "masculine to feminine, model seed 0, fraction 0.25"]
    assert row[2:-2] == ["262", "0.557", "0.504", "0.553", "−0.049", "−0.091 to −0.007", "0.012"]
    assert row[-1] == "0.060"


def test_the_slope_of_the_checked_share_is_that_of_the_runs(study: Path) -> None:
    drawn = (study / "tables" / "doses.md").read_text("utf-8").splitlines()
    line = next(line for line in drawn if "share she" in line)
    assert "| 2 | 8 |" in line
    slope = float(line.split("|")[5])
    assert slope == pytest.approx(0.71, abs=0.03)


def test_suites_are_put_together_with_their_spread(study: Path) -> None:
    rows = suite_table(arms(study)).rows
    assert {row[0] for row in rows} == {f"masculine to feminine, fraction {dose:g}" for dose in DOSES}
    assert {row[2] for row in rows} == {"2"}


def test_nothing_is_loaded_from_elsewhere_and_ids_are_unique(study: Path) -> None:
    text = (study / "study.html").read_text("utf-8")
    page = Page(text)
    assert not {"script", "iframe", "object", "embed", "base", "link", "img"} & {tag for tag, _ in page.elements}
    assert not re.search(r"@import|url\((?!#)", text)
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert len(text.encode()) < 5_000_000


def test_hostile_text_is_shown_and_not_run(tmp_path: Path) -> None:
    run = finished(tmp_path / "run")
    hostile = "<script>alert(1)</script>|&_$%"
    content = json.loads((run / "run.json").read_text("utf-8"))
    content["command"] = content["caveats"][0] = content["checkpoint"]["model"] = hostile
    (run / "run.json").write_text(json.dumps(content), "utf-8")
    page = Page(write_study(tmp_path).read_text("utf-8"))
    assert not page.tags("script")
    assert page.text.count(hostile.split("|")[0]) >= 3
    assert r"\textless{}script\textgreater{}alert(1)\textless{}/script\textgreater{}|\&\_\$\%" in (
        tmp_path / "tables" / "runs.tex"
    ).read_text("utf-8")


def test_the_same_runs_give_the_same_bytes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    finished(tmp_path / "study" / "run")
    main([str(tmp_path / "study")])
    assert capsys.readouterr().out.endswith("study.html\n")
    files = [path for path in (tmp_path / "study").rglob("*") if path.is_file() and path.name != "run.json"]
    first = {path: path.read_bytes() for path in files}
    write_study(tmp_path / "study")
    assert first == {path: path.read_bytes() for path in files}
    assert {path.suffix for path in files} >= {".html", ".tex", ".md", ".svg", ".pdf"}


def test_a_table_is_the_same_in_markdown_and_latex() -> None:
    table = Table(name="t", caption="50 % of it", columns=["Arm", "p"], rows=[["a|b_c", "−0.1"], ["~", "< 0.001"]])
    assert to_markdown(table) == "50 % of it\n\n| Arm | p |\n| --- | ---: |\n| a\\|b_c | −0.1 |\n| ~ | < 0.001 |\n"
    latex = to_latex(table)
    assert r"a|b\_c & $-$0.1 \\" in latex
    assert r"\textasciitilde{} & \textless{} 0.001 \\" in latex
    assert r"\begin{tabular}{lr}" in latex
    assert r"\caption{50 \% of it}" in latex


def test_metrics_along_the_way_are_drawn_with_the_window_and_the_stored_points_behind() -> None:
    moments = {"before": 133_000, "after_step138000": 138_000, "after": 143_000}
    moments |= {"control_step138000": 138_000, "control": 143_000}
    rows = [
        {"run": run, "model": "pythia-1.4b", "benchmark": "winobias_generation", "metric": "compat_net_bias"}
        | {"moment": moment, "moment_step": step, "kind": "level", "ci_low": 0.0, "ci_high": 0.2, "primary": True}
        | {"value": 0.3 if moment.startswith("after") and run == "b" else 0.1}
        | {
            "deduped": True,
            "model_seed": 0,
            "step": 133_000,
            "steps": 10_000,
            "start": 2_000,
            "stop": None,
            "intervention": "swap",
        }
        for run in ("a", "b")
        for moment, step in moments.items()
    ]
    whole = dict.fromkeys(["start", "stop", "moment_step"], "Int64")
    table = pd.DataFrame(rows).astype({"primary": "boolean", "deduped": "boolean", "moment": "str", **whole})
    ((figure, _),) = study_figures_of([], table, names={"a": "a", "b": "b"}).values()
    axes = figure.axes[0]
    drawn = {line.get_label(): line for line in axes.lines}
    for name, value in (("a", 0.1), ("b", 0.3), ("control", 0.1)):  # the arms share their control
        assert [float(x) for x in drawn[name].get_xdata()] == [133_000, 138_000, 143_000]  # type: ignore[union-attr]
        assert [float(y) for y in drawn[name].get_ydata()] == [0.1, value, value]  # type: ignore[union-attr]
    stored = next(line for line in axes.lines if line.get_label() == "published")
    assert dict(stored.get_xydata())[143_000] == pytest.approx(0.0726, abs=5e-5)
    span = axes.patches[0].get_extents().transformed(axes.transData.inverted())
    assert (round(span.x0), round(span.x1)) == (135_000, 143_000)


def test_stored_points_are_those_of_the_runs_own_suites_and_a_line_for_each() -> None:
    metric = {"benchmark": "crows_pairs_revised", "metric": "gender_pct_stereotype", "kind": "level", "primary": True}
    rows = [
        {**metric, "run": f"{model} {deduped} {seed}", "model": model, "deduped": deduped, "model_seed": seed}
        | {"moment": f"step{step}", "moment_step": step, "value": 0.5, "ci_low": 0.4, "ci_high": 0.6}
        | {"step": 3000, "steps": 140_000, "start": None, "stop": None, "intervention": None}
        for model, deduped, seed in [("pythia-70m", True, 0), ("pythia-410m", False, 0), ("pythia-160m", False, 3)]
        for step in (3000, 143_000)
    ]
    whole = dict.fromkeys(["start", "stop", "moment_step", "model_seed"], "Int64")
    table = pd.DataFrame(rows).astype({"primary": "boolean", "deduped": "boolean", "moment": "str", **whole})
    ((figure, _),) = study_figures_of([], table, names={run: run for run in table["run"]}).values()
    labels = [line.get_label() for line in figure.axes[0].lines]
    assert [label for label in labels if str(label).startswith("published")] == [
        *("published, 70m-deduped", "published, 410m"),
    ]


def test_no_one_directory_and_no_run_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="expected the one directory of a study, found a b"):
        main(["a", "b"])
    with pytest.raises(UserError, match="no finished run to read"):
        main([str(tmp_path)])


@pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium on the PATH")
def test_the_page_of_a_study_never_scrolls_sideways(study: Path, tmp_path: Path) -> None:
    measured = widths_measured(study / "study.html", tmp_path)
    assert [inner for _, inner in measured] == [360, 390, 1280]
    assert all(scroll <= inner for scroll, inner in measured), measured
