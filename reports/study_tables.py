"""The tables of a study: what was varied, what came of it and what it took; as HTML, Markdown and LaTeX show them."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from foundation import holm, write_text
from reports.arms import Arm, asked, unique_labels, without_effect
from reports.comparison import DESIGN, in_print, settings, told_apart_by, with_file_names
from reports.dose_response import all_slopes
from reports.manipulation import manipulation_rule
from reports.over_suites import suite_effects
from reports.results import BENCHMARKS, Estimate, Metric, Results, interval, number, p_value, percent, words
from reports.runs import cost, verdict_of

_ONE_SUITE = "One suite has neither, since it cannot say what others would show."


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table whose cells are printed text; the first column says what a row is of."""

    name: str
    caption: str
    columns: list[str]
    rows: list[list[str]]

    @property
    def numeric(self) -> list[bool]:
        """Of each column, whether all its cells begin as numbers do."""
        return [all(re.match(r"[<−+–\d]", cell) for cell in column) for column in zip(*self.rows, strict=True)]


def corrected(arms: Sequence[Arm]) -> dict[tuple[str, str, str], float]:
    """p of the main change of each primary metric by Holm's correction over all of them, in all arms of the study.

    Keys: `Arm.key`, benchmark, metric.
    """
    found = {
        (arm.key, metric.benchmark, metric.name): metric.changes[metric.main_change].p
        for arm in arms
        for metric in arm.primary
    }
    adjusted = holm(pd.Series(list(found.values()), dtype="float64"))
    return dict(zip(found, adjusted.tolist(), strict=True))


def study_tables(arms: Sequence[Arm], runs: Sequence[Results], *, study: Path) -> list[Table]:
    """Every table of the study that has a row.

    Args:
        arms: of `arms_of`.
        runs: all runs of the study, also those that have no intervention.
        study: what directories are named from.
    """
    tables = [design_table(runs), verdict_table(arms), effect_table(arms), dose_table(arms), suite_table(arms)]
    tables += [cost_table(arms), run_table(arms, study=study)]
    return [each for each in tables if each.rows]


def design_table(runs: Sequence[Results]) -> Table:
    """What was varied, and what was the same in all runs."""
    compared = with_file_names([settings(each.run) for each in runs])
    varied = told_apart_by(compared)
    rows = []
    for name in [*varied, *(each for each in DESIGN if each not in varied)]:
        found = {repr(each.get(name)): each.get(name) for each in compared}
        if shown := [in_print(value) for value in sorted(found.values(), key=_sortable) if value is not None]:
            having = [each for each in compared if each["unit"] is not None] if name == "stop" else compared
            unset = (name not in DESIGN or name == "stop") and any(each.get(name) is None for each in having)
            shown += ["none"] if unset else []
            spelled = name if "." in name else name.replace("_", " ")
            rows.append([spelled, ", ".join(shown).replace("_", " ") if name in DESIGN else ", ".join(shown)])
    return Table(
        name="design",
        caption=f"The design: {len(runs)} runs, what varied among them first. What a model implies is not listed.",
        columns=["Factor", "Values"],
        rows=rows,
    )


def _sortable(value: Any) -> tuple[bool, float, str]:
    return (False, float(value), "") if isinstance(value, int | float) else (True, 0.0, str(value))


def verdict_table(arms: Sequence[Arm]) -> Table:
    """Whether each intervention was learned."""
    checked = [(arm, arm.checked, arm.judged) for arm in arms]
    rows = [
        [arm.label, verdict_of(arm.results) or "no verdict", *_levels(share), *_change(judged)]
        for arm, share, judged in checked
        if share is not None and judged is not None
    ]
    rules = {manipulation_rule(m, arm.results.run["intervention"]["expects"]) for arm, m, _ in checked if m is not None}
    return Table(
        name="verdicts",
        caption=f"The manipulation check: the share of she (or they) after neutral prefixes, and the change of "
        f"its log-odds in nats. {' '.join(sorted(rules))}",
        columns=["Arm", "Verdict", "Before", "After", "Control", "Log-odds", "95 % interval"],
        rows=rows,
    )


def effect_table(arms: Sequence[Arm]) -> Table:
    """The main change of each primary metric in each arm."""
    family = corrected(arms)
    rows = []
    primary = [(metric, arm) for arm in arms for metric in arm.primary]
    order = {key: number for number, key in enumerate(dict.fromkeys((m.benchmark, m.name) for m, _ in primary))}
    for metric, arm in sorted(primary, key=lambda pair: order[pair[0].benchmark, pair[0].name]):
        change = metric.changes[metric.main_change]
        holm_p = family[arm.key, metric.benchmark, metric.name]
        tested = [p_value(change.p), p_value(holm_p), number(change.mde, metric.change_decimals)]
        rows.append([title(metric), arm.label, f"{metric.n:,}", *_levels(metric), *_change(metric), *tested])
    changes = sorted({words(metric.main_change) for arm in arms for metric in arm.primary})
    return Table(
        name="effects",
        caption=f"Effects on the primary metrics, {' or '.join(changes)}. Holm: p corrected for the {len(rows)} tests "
        "of this table. MDE: the smallest change that so many examples find with 80 % power at the 5 % level.",
        columns=[*("Metric", "Arm", "n", "Before", "After", "Control", "Change", "95 % interval", "p", "Holm", "MDE")],
        rows=rows,
    )


def dose_table(arms: Sequence[Arm]) -> Table:
    """The slope of the manipulation check and of each primary metric on the dose."""
    metrics, rows = asked(arms), []
    for line in all_slopes(arms).to_dict("records"):
        slope = _estimate(line, "slope")
        counts = [f"{line['suites']}", f"{line['models']}"]
        found = [number(slope.value, 4, signed=True), interval(slope, 4), p_value(slope.p), p_value(slope.p_holm)]
        rows.append([str(line["cell"]), title(metrics[line["benchmark"], line["metric"]]), *counts, *found])
    return Table(
        name="doses",
        caption="Dose-response: the slope of a metric on the share of the text that was changed, from none to all. A "
        "least-squares line for each suite, through the mean of its draws; their mean, and the t interval over suites. "
        f"{_ONE_SUITE} Holm: p corrected over all slopes of this table.",
        columns=["Arm", "Metric", "Suites", "Models", "Slope", "95 % interval", "p", "Holm"],
        rows=rows,
    )


def suite_table(arms: Sequence[Arm]) -> Table:
    """The main changes over suites."""
    metrics, rows = asked(arms), []
    for line in suite_effects(arms).to_dict("records"):
        change = _estimate(line, "change")
        rows.append(
            [
                line["cell"],
                title(metrics[line["benchmark"], line["metric"]]),
                f"{line['suites']}",
                f"{line['draws']}",
                number(change.value, 4, signed=True),
                interval(change, 4),
                p_value(change.p),
                p_value(change.p_holm),
                *(number(_known(line[spread]), 4) for spread in ("sd_suites", "sd_draws")),
            ]
        )
    return Table(
        name="suites",
        caption="Over suites: the mean of the main changes. Draws of one suite are averaged first; the interval and "
        f"p are those of the t test over suites. {_ONE_SUITE} Holm: p corrected for the tests of this table. The SD "
        "over draws is that within a suite: what the choice of the text changes, not what another model would show.",
        columns=[
            "Arm",
            "Metric",
            "Suites",
            "Draws",
            "Mean change",
            "95 % interval",
            "p",
            "Holm",
            "SD, suites",
            "SD, draws",
        ],
        rows=rows,
    )


def _estimate(line: Mapping[Any, Any], value: str) -> Estimate:
    low, high, p, p_holm = (_known(line[key]) for key in ("ci_low", "ci_high", "p", "p_holm"))
    return Estimate(value=line[value], low=low, high=high, p=p, mde=None, p_holm=p_holm)


def labelled_runs(arms: Sequence[Arm]) -> list[tuple[str, Results]]:
    """Every run of the arms with its arm's label; copies, which are not counted as arms, say so."""
    found = []
    for arm in arms:
        runs, shown = (arm.results, *arm.copies), ("intervention", *without_effect(arm.all_settings))
        if len({own["intervention"] for own in arm.all_settings}) == 1:
            shown = shown[1:]
        names = unique_labels([{name: own.get(name) for name in shown} for own in arm.all_settings], runs)
        found += [
            (f"{arm.label}{f', copy: {name}' * (each is not arm.results)}", each)
            for name, each in zip(names, runs, strict=True)
        ]
    return found


def cost_table(arms: Sequence[Arm]) -> Table:
    """What each run took."""
    rows = []
    for label, results in labelled_runs(arms):
        run, spent = results.run, cost(results)
        gpus = [gpu["name"] for gpu in run["hardware"]["gpus"]]
        rows.append(
            [
                label,
                f"{spent['tokens']:,}",
                number(spent["train_s"], 1),
                number(sum(run["timings_s"].values()), 1),
                number(spent["tokens_per_s"], 0),
                percent(spent["mfu"], 0),
                percent(spent["data_stall"], 1),
                ", ".join(sorted(set(gpus))) or run["hardware"]["cpu"],
            ]
        )
    return Table(
        name="costs",
        caption="Costs: tokens that the run's own arms have read, seconds of training and of all stages, the median "
        "speed of a step, MFU (the share of the device's bf16 peak that it used, where that is known), and the share "
        "of the time in which steps waited for their batches. What a run took over from its study is not counted "
        "again.",
        columns=["Arm", "Tokens", "Training, s", "All, s", "Tokens/s", "MFU", "Data stall", "Device"],
        rows=rows,
    )


def run_table(arms: Sequence[Arm], *, study: Path) -> Table:
    """Where each run is, and what it is made of."""
    rows = []
    for label, results in labelled_runs(arms):
        run = results.run
        commit = run["git"]["commit"]
        rows.append(
            [
                label,
                results.directory.relative_to(study).as_posix(),
                "not known" if commit is None else f"{commit[:10]}{' with changes' if run['git']['dirty'] else ''}",
                f"{run['checkpoint'].get('sha256') or 'not known'}"[:12],
                f"{run['fingerprints'].get('segment_sha256') or 'not known'}"[:12],
                f"{run['fingerprints'].get('intervened_segment_sha256') or 'not known'}"[:12],
                run["command"],
            ]
        )
    return Table(
        name="runs",
        caption="The runs: directory, commit, the first digits of the SHA-256 of the checkpoint and of the segment "
        "before and after the intervention, and the command. The whole manifest of each is its run.json.",
        columns=["Arm", "Directory", "Commit", "Checkpoint", "Segment", "Changed segment", "Command"],
        rows=rows,
    )


def title(metric: Metric) -> str:
    """A metric's name with its benchmark's."""
    return f"{BENCHMARKS.get(metric.benchmark, metric.benchmark)}: {metric.name.replace('_', ' ')}"


def _levels(metric: Metric) -> list[str]:
    found = [metric.levels.get(moment) for moment in ("before", "after", "control")]
    return [number(level.value if level else None, metric.decimals) for level in found]


def _change(metric: Metric) -> list[str]:
    change = metric.changes[metric.main_change]
    return [number(change.value, metric.change_decimals, signed=True), interval(change, metric.change_decimals)]


def _known(value: float) -> float | None:
    return None if pd.isna(value) else float(value)


def write_tables(tables: Sequence[Table], directory: Path) -> None:
    """Write each table as Markdown and as LaTeX, which needs the package booktabs."""
    directory.mkdir(parents=True, exist_ok=True)
    for table in tables:
        write_text(directory / f"{table.name}.md", to_markdown(table))
        write_text(directory / f"{table.name}.tex", to_latex(table))


def to_markdown(table: Table) -> str:
    """A pipe table under its caption; a cell is one line."""
    lines = [table.columns, ["---:" if numeric else "---" for numeric in table.numeric], *table.rows]
    text = [f"| {' | '.join(_markdown_cell(cell) for cell in line)} |" for line in lines]
    return "\n".join([table.caption, "", *text, ""])


def _markdown_cell(text: str) -> str:
    return text.replace("|", r"\|").replace("\n", " ")


def to_latex(table: Table) -> str:
    """A tabular of booktabs in a table environment; all text is escaped."""
    caption, *cells = _latex_escaped([table.caption, *table.columns, *(cell for row in table.rows for cell in row)])
    width = len(table.columns)
    lines = [cells[start : start + width] for start in range(0, len(cells), width)]
    frame = pd.DataFrame(lines[1:], columns=lines[0])
    align = "".join("r" if numeric else "l" for numeric in table.numeric)
    return frame.to_latex(index=False, escape=False, column_format=align, caption=caption, label=f"tab:{table.name}")


_LATEX = str.maketrans(
    {
        **{mark: f"\\{mark}" for mark in "&%$#_{}"},
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "<": r"\textless{}",
        ">": r"\textgreater{}",
        "−": "$-$",
        "→": r"$\to$",
        "\u00a0": "~",
    }
)


def _latex_escaped(texts: Sequence[str]) -> list[str]:
    return [text.translate(_LATEX) for text in texts]
