"""study.html and the tables and figures beside it: what several finished runs say together."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd
from markupsafe import Markup
from matplotlib.figure import Figure

from foundation import UserError, write_text
from foundation.pages import page_environment
from reports import figures, study_figures
from reports.arms import Arm, arms_of, asked, cells, copies, notes, unique_labels
from reports.comparison import other_differences, settings
from reports.course_figures import ALONG, course_of, trajectory_figure
from reports.dose_response import all_slopes, dose_points
from reports.fidelity import fidelity_tables
from reports.identity import mixture_caveats
from reports.manipulation import Verdict
from reports.published_results import published_series
from reports.record import machine_caveats
from reports.results import BENCHMARKS, LEVEL, Results, p_equation, read_results
from reports.runs import find_runs, tidy, verdict_of
from reports.study_tables import Table, corrected, labelled_runs, study_tables, title, write_tables

_HERE = Path(__file__).parent
# Arms whose own figures stand in the page; the report of each run has its own.
_MOST_ARMS = 6
_UNLEARNED: tuple[Verdict, ...] = ("not taken", "unclear", "moved, though nothing was changed")


def write_study(directory: Path) -> Path:
    """Write study.html into the directory of a study's runs, and its tables and figures as files.

    The page needs nothing but itself and has the tables and figures, what they say in words, every command and what was
    left out. tables/ has each table as Markdown and LaTeX (booktabs), figures/ each figure of the study as SVG and PDF.
    The same runs give the same bytes. Nothing is evaluated again.

    Raises:
        UserError: there is no finished run in it, or none of the finished ones has an intervention or is of fidelity.
    """
    found = find_runs([directory])
    runs = [read_results(path) for path in found.finished]
    arms = arms_of(runs)
    fidelity = [each for each in runs if each.run["config"]["protocol"] == "fidelity"]
    tables = study_tables(arms, runs, study=directory)
    drawn = study_figures_of(arms, tidy(runs), names=names_of(runs, arms))
    if fidelity:
        figure = figures.fidelity_figure(fidelity_tables(fidelity))
        drawn["fidelity"] = (figure, "Distance from the true checkpoint by source of the optimizer state.")
    if not (arms or drawn):
        raise UserError(f"{directory} holds no run that has an intervention, and none of fidelity; name a study's")
    write_tables(tables, directory / "tables")
    (directory / "figures").mkdir(exist_ok=True)
    for name, (figure, _) in drawn.items():
        for suffix in ("svg", "pdf"):
            figures.save_figure(figure, directory / "figures" / f"{figures.plain_name(name)}.{suffix}")
    path = directory / "study.html"
    left_out = {_relative(run, directory): reason for run, reason in found.left_out.items()}
    write_text(path, render(directory.resolve().name, arms, tables, drawn, left_out))
    return path


def render(
    name: str,
    arms: Sequence[Arm],
    tables: Sequence[Table],
    drawn: Mapping[str, tuple[Figure, str]],
    left_out: Mapping[str, str],
) -> str:
    """The page as text."""
    environment = page_environment(_HERE)
    runs = [arm.results.run for arm in arms]
    caveats = dict.fromkeys(caveat for run in runs for caveat in [*run["caveats"], *machine_caveats(run)])
    return environment.get_template("study.html.jinja").render(
        css=Markup((_HERE / "report.css").read_text("utf-8")),
        name=name,
        question=question(arms, over_training=any(key.startswith("trajectory-") for key in drawn)),
        answers=answers(arms),
        arms=arms,
        notes=notes(arms),
        runs=labelled_runs(arms),
        tables={table.name: table for table in tables},
        figures={
            key: Markup(figures.to_svg(figure, prefix=key, label=label)) for key, (figure, label) in drawn.items()
        },
        own={arm.label: _own_figures(number, arm) for number, arm in enumerate(_shown(arms))},
        has_trajectories=any(key.startswith("trajectory-") for key in drawn),
        left_out=left_out,
        caveats=[*mixture_caveats(runs), *caveats],
    )


def question(arms: Sequence[Arm], *, over_training: bool = False) -> str:
    """What the study asks, by what its runs have in common and what varies.

    Args:
        over_training: whether checkpoints along the way were evaluated.
    """
    if not arms and over_training:
        return "How does gender bias develop over training?"
    if not arms:
        return "How near does resuming come to the true checkpoint?"
    runs = [arm.results.run for arm in arms]
    models, interventions = (
        _joined(dict.fromkeys(run[part][key].replace("_", " ") for run in runs))
        for part, key in (("checkpoint", "model"), ("intervention", "name"))
    )
    segments = _joined(
        dict.fromkeys(
            f"{run['segment']['step']:,} to {run['segment']['step'] + run['segment']['steps']:,}" for run in runs
        )
    )
    return f"What does {interventions} in steps {segments} change in the gender bias of {models}?"


def answers(arms: Sequence[Arm]) -> list[str]:
    """The verdicts counted, and which effects are left after correction."""
    if not arms:
        return []
    verdicts = [verdict_of(arm.results) or "no verdict" for arm in arms]
    counts = "; ".join(f"{verdict}: {verdicts.count(verdict)}" for verdict in dict.fromkeys(verdicts))
    sentences = [f"Manipulation check of {len(arms)} arms: {counts}."]
    unlearned = [arm.label for arm, verdict in zip(arms, verdicts, strict=True) if verdict in _UNLEARNED]
    if unlearned:
        sentences.append(f"Not as the intervention should have it: {'; '.join(unlearned)}. Their effects say little.")
    family = corrected(arms)
    if not family:
        return sentences
    unclear = [arm.label for arm in arms if other_differences(arm.results.run)]
    if unclear:
        sentences.append(
            f"The control differs in more than the text, so that tests say nothing of its effect: {'; '.join(unclear)}."
        )
    names = {(arm.key, m.benchmark, m.name): f"{title(m)} in {arm.label}" for arm in arms for m in arm.primary}
    left = [key for key, p in family.items() if p < LEVEL]
    sentences.append(
        f"Of {len(family)} tests of primary metrics {len(left)} remain at the 5 % level by Holm’s correction over the "
        f"study{': ' if left else '.'}"
        + "; ".join(f"{names[key]} ({p_equation(family[key])})" for key in left[:6])
        + (f"; and {len(left) - 6} more." if len(left) > 6 else "." if left else "")
    )
    return sentences


def names_of(runs: Sequence[Results], arms: Sequence[Arm]) -> dict[str, str]:
    """What each run's line is called where runs are drawn over the steps, by directory; copies of others have none.

    Beside the arms these are the trajectories, which tell the suite's own checkpoints.
    """
    own = [group[0] for group in copies([each for each in runs if "intervention" not in each.run])]
    names = unique_labels([settings(each.run) for each in own], own)
    named = {str(each.directory): name or "the suite" for each, name in zip(own, names, strict=True)}
    return {**named, **{arm.key: arm.label for arm in arms}}


def study_figures_of(
    arms: Sequence[Arm], table: pd.DataFrame, *, names: Mapping[str, str]
) -> dict[str, tuple[Figure, str]]:
    """The figures of the whole study by name, each with what a screen reader says in its place.

    Args:
        table: of `collect`.
        names: of the runs that are drawn over the steps, by directory.
    """
    drawn: dict[str, tuple[Figure, str]] = {}
    labels = {arm.key: arm.label for arm in arms}
    rank = {label: number for number, label in enumerate(labels.values())}
    slopes, family = all_slopes(arms), corrected(arms)
    for (benchmark, name), metric in asked(arms).items():
        own = table[(table["benchmark"] == benchmark) & (table["metric"] == name)]
        own = own[own["run"].isin(labels)].assign(label=own["run"].map(labels))
        own = own.sort_values("label", key=lambda labels: labels.map(rank), kind="stable")
        shown, key = title(metric), f"{benchmark}-{name}"
        levels = own[own["moment"].isin(["before", "after", "control"])]
        figure = study_figures.levels_figure(levels, title=shown, neutral=metric.neutral)
        drawn[f"levels-{key}"] = (figure, f"{shown}, before, after and in the control arm; numbers in the tables.")
        changes = own[own["moment"] == metric.main_change]
        changes = changes.assign(
            found=[
                family.get((run, benchmark, name), p) < LEVEL
                for run, p in zip(changes["run"], changes["p"], strict=True)
            ]
        )
        figure = study_figures.forest_figure(changes, title=f"Change of {shown}")
        drawn[f"forest-{key}"] = (figure, f"{shown}: change with interval in each arm; numbers in the tables.")
        lines = slopes[(slopes["benchmark"] == benchmark) & (slopes["metric"] == name)]
        if len(lines):
            points = dose_points(arms, benchmark=benchmark, metric=name)
            drawn[f"dose-{key}"] = (
                study_figures.dose_figure(points, lines, title=shown),
                f"{shown} over the dose; slopes in the tables.",
            )
    return drawn | _trajectories(table, names)


def _trajectories(table: pd.DataFrame, names: Mapping[str, str]) -> dict[str, tuple[Figure, str]]:
    """A figure for each metric that was evaluated along the way.

    Args:
        names: of the runs to draw, by directory.
    """
    levels = table[(table["kind"] == "level") & table["moment_step"].notna() & table["run"].isin(names)]
    chosen = levels[levels["moment"].str.fullmatch(ALONG)]
    chosen = chosen[chosen["primary"].fillna(False) | chosen["metric"].isin(["share_she", "share_they"])]
    drawn: dict[str, tuple[Figure, str]] = {}
    for (benchmark, metric), rows in chosen.groupby(["benchmark", "metric"], sort=False):
        own = levels[(levels["benchmark"] == benchmark) & (levels["metric"] == metric)]
        own = own[own["run"].isin(rows["run"])]
        runs = own.drop_duplicates("run")
        trained = runs[runs["intervention"].notna() & (runs["intervention"] != "none")]
        first, last = trained["step"] + trained["start"].fillna(0), trained["stop"].fillna(trained["steps"])
        windows = {(int(start), int(stop)) for start, stop in zip(first, trained["step"] + last, strict=True)}
        stored = _stored(runs, str(benchmark), str(metric))
        figure = trajectory_figure(
            _courses(own, names),
            title=f"{BENCHMARKS.get(str(benchmark), str(benchmark))}: {str(metric).replace('_', ' ')}",
            window=windows.pop() if len(windows) == 1 else None,
            published=stored if len(stored) else None,
        )
        drawn[f"trajectory-{benchmark}-{metric}"] = (figure, f"{metric} over the steps of training.")
    return drawn


def _stored(runs: pd.DataFrame, benchmark: str, metric: str) -> pd.DataFrame:
    """What Pythia's authors stored of a metric for the suites that the runs are of: deduplicated or not, seed 0."""
    published = runs[runs["model_seed"] == 0]
    names = published["model"].str.removeprefix("pythia-") + published["deduped"].map({True: "-deduped"}).fillna("")
    stored = published_series(benchmark, metric)
    own = stored["variant"].isin(["baseline", "zero_shot_suite"]) & (stored["family"] == "v1")
    return stored[own & stored["model"].isin(set(names))]


def _courses(levels: pd.DataFrame, names: Mapping[str, str]) -> pd.DataFrame:
    """The lines of one metric over all runs; a control that arms share is one line."""
    lines: list[pd.DataFrame] = []
    controls: dict[tuple[float, ...], pd.DataFrame] = {}
    for run, own in levels.groupby("run", sort=False):
        name, course = names[str(run)], course_of(own)
        lines.append(course[course["label"] != "control"].assign(label=name))
        control = course[course["label"] == "control"]
        controls.setdefault(tuple(control["value"]), control.assign(label=f"control of {name}"))
    found = [control for control in controls.values() if len(control)]
    return pd.concat([*lines, *(found if len(found) > 1 else [control.assign(label="control") for control in found])])


def _shown(arms: Sequence[Arm]) -> list[Arm]:
    """One arm of each design, whatever its seed, as far as there is room."""
    return [cell[0] for cell in cells(arms)][:_MOST_ARMS]


def _own_figures(number: int, arm: Arm) -> list[Markup]:
    """Occupations, the ledger and losses of one arm."""
    found, prefix = arm.results, f"arm{number}"
    drawn: dict[str, Figure] = {}
    if {"before", "after"} <= found.occupations.keys():
        drawn["occupations"] = figures.occupations_figure(found.occupations, later="after")
    if not found.swaps.empty:
        drawn["ledger"] = study_figures.ledger_figure(found.swaps)
    for column in ("loss_swapped", "loss_other"):
        journals = {
            name: each for name, each in found.journals.items() if column in each and each[column].notna().any()
        }
        if journals:
            drawn[column] = figures.loss_figure(journals, columns=[column])
    return [
        _svg(figure, f"{prefix}-{name}", f"{name.replace('_', ' ')}, {arm.label}") for name, figure in drawn.items()
    ]


def _svg(figure: Figure, prefix: str, label: str) -> Markup:
    return Markup(figures.to_svg(figure, prefix=prefix, label=label))


def _joined(words: Mapping[str, None]) -> str:
    *first, last = words
    return f"{', '.join(first)} or {last}" if first else last


def _relative(path: Path, directory: Path) -> str:
    return path.relative_to(directory).as_posix()
