"""The tables of a study: what was varied, what came of it and what it took; as HTML, Markdown and LaTeX show them."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import stdtrit

from foundation import holm, write_text
from reports.dose_response import dose_points, dose_slopes
from reports.manipulation import manipulation_rule
from reports.results import BENCHMARKS, Estimate, Metric, Results, interval, number, p_value, percent, words
from reports.runs import DESIGN, REPLICATE, cost, design, labels, verdict_of


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


@dataclass(frozen=True, kw_only=True, eq=False)
class Arm:
    """One run of a study under the name that tells it apart from the others."""

    label: str
    results: Results

    @property
    def checked(self) -> Metric | None:
        """The metric of the manipulation check, where there is one to be made."""
        metric = self.results.checked
        return metric if metric is not None and metric.changes else None

    @property
    def primary(self) -> list[Metric]:
        """The metrics that the study asks for."""
        return self.results.primary


def arms_of(runs: Sequence[Results]) -> list[Arm]:
    """The runs that have an intervention, in the order of their designs; alike ones are told apart by directory."""
    intervened = [each for each in runs if "intervention" in each.run]
    designs = [design(each.run) for each in intervened]
    names = labels(designs) if designs else []
    arms = [
        Arm(label=name if names.count(name) == 1 else f"{name}, {each.directory.name}", results=each)
        for name, each in zip(names, intervened, strict=True)
    ]
    order = {id(arm): [_sortable(each[name]) for name in DESIGN] for arm, each in zip(arms, designs, strict=True)}
    return sorted(arms, key=lambda arm: order[id(arm)])


def _sortable(value: Any) -> tuple[float, str]:
    return (float(value), "") if isinstance(value, int | float) else (float("inf"), str(value))


def corrected(arms: Sequence[Arm]) -> dict[tuple[str, str, str], float]:
    """p of the main change of each primary metric by Holm's correction over all of them, in all arms of the study.

    Keys: label of the arm, benchmark, metric.
    """
    found = {
        (arm.label, metric.benchmark, metric.name): metric.changes[metric.main_change].p
        for arm in arms
        for metric in arm.primary
    }
    adjusted = holm(pd.Series(list(found.values()), dtype="float64"))
    return dict(zip(found, adjusted.tolist(), strict=True))


def study_tables(arms: Sequence[Arm], table: pd.DataFrame, *, study: Path) -> list[Table]:
    """Every table of the study that has a row.

    Args:
        arms: of `arms_of`.
        table: of `collect`, of the same runs.
        study: what directories are named from.
    """
    tables = [design_table(table), verdict_table(arms), effect_table(arms), dose_table(arms, table), seed_table(arms)]
    tables += [cost_table(arms), run_table(arms, study=study)]
    return [each for each in tables if each.rows]


def design_table(table: pd.DataFrame) -> Table:
    """What was varied, and what was the same in all runs."""
    runs = table.drop_duplicates("run")
    factors = []
    for name in DESIGN:
        found = sorted(set(runs[name].dropna()))
        if found:
            shown = ", ".join(f"{value:g}" if isinstance(value, float) else str(value) for value in found)
            factors.append((len(found) == 1, [name.replace("_", " "), shown.replace("_", " ")]))
    rows = [row for _, row in sorted(factors, key=lambda factor: factor[0])]
    return Table(
        name="design",
        caption=f"The design: {len(runs)} runs, what varied among them first.",
        columns=["Factor", "Values"],
        rows=rows,
    )


def verdict_table(arms: Sequence[Arm]) -> Table:
    """Whether each intervention was learned."""
    checked = [(arm, arm.checked) for arm in arms]
    rows = [
        [arm.label, verdict_of(arm.results) or "no verdict", *_levels(metric), *_change(metric)]
        for arm, metric in checked
        if metric is not None
    ]
    rules = {manipulation_rule(m, arm.results.run["intervention"]["expects"]) for arm, m in checked if m is not None}
    return Table(
        name="verdicts",
        caption=f"The manipulation check: the share of she (or they) after neutral prefixes. {' '.join(sorted(rules))}",
        columns=["Arm", "Verdict", "Before", "After", "Control", "Change", "95 % interval"],
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
        holm_p = family[arm.label, metric.benchmark, metric.name]
        tested = [p_value(change.p), p_value(holm_p), number(change.mde, metric.decimals)]
        rows.append([title(metric), arm.label, f"{metric.n:,}", *_levels(metric), *_change(metric), *tested])
    changes = sorted({words(metric.main_change) for arm in arms for metric in arm.primary})
    return Table(
        name="effects",
        caption=f"Effects on the primary metrics, {' or '.join(changes)}. Holm: p corrected for the {len(rows)} tests "
        "of this table. MDE: the smallest change that so many examples find with 80 % power at the 5 % level.",
        columns=[*("Metric", "Arm", "n", "Before", "After", "Control", "Change", "95 % interval", "p", "Holm", "MDE")],
        rows=rows,
    )


def asked(arms: Sequence[Arm]) -> dict[tuple[str, str], Metric]:
    """The checked shares and the primary metrics that any arm has, by benchmark and name; each as one arm has it."""
    found = [metric for arm in arms for metric in (arm.checked,) if metric is not None]
    found += [metric for arm in arms for metric in arm.primary]
    return {(metric.benchmark, metric.name): metric for metric in found}


def dose_table(arms: Sequence[Arm], table: pd.DataFrame) -> Table:
    """The slope of the manipulation check and of each primary metric on the dose."""
    rows = []
    for (benchmark, name), metric in asked(arms).items():
        for line in dose_slopes(dose_points(table, benchmark=benchmark, metric=name)).to_dict("records"):
            low, high, p = (_known(line[key]) for key in ("ci_low", "ci_high", "p"))
            slope = Estimate(value=line["slope"], low=low, high=high, p=p, mde=None)
            counts = [f"{line['models']}", f"{line['replicates']}"]
            found = [number(slope.value, 4, signed=True), interval(slope, 4), p_value(p)]
            rows.append([str(line["cell"]), title(metric), *counts, *found])
    return Table(
        name="doses",
        caption="Dose-response: the slope of a metric on the share of the text that was changed, from none to all; "
        "least squares with an intercept for each draw, errors clustered by suite where suites of several seeds were "
        "run, else by draw: then they are errors of the draw of what to change, for this one model.",
        columns=["Arm", "Metric", "Models", "Replicates", "Slope", "95 % interval", "p"],
        rows=rows,
    )


def seed_table(arms: Sequence[Arm]) -> Table:
    """The main changes over arms that differ in their seeds alone."""
    cells = replicates(arms)
    rows = []
    names = labels([design(cell[0].results.run) | dict.fromkeys(REPLICATE) for cell in cells]) if cells else []
    for name, cell in zip(names, cells, strict=True):
        if len(cell) == 1:
            continue
        for key, metric in asked(cell).items():
            values = np.array(
                [
                    own.changes[own.main_change].value
                    for arm in cell
                    for own in arm.results.metrics
                    if (own.benchmark, own.name) == key and own.changes
                ]
            )
            mean, spread = float(values.mean()), float(values.std(ddof=1)) if len(values) > 1 else math.nan
            reach = float(stdtrit(len(values) - 1, 0.975)) * spread / math.sqrt(len(values))
            estimate = Estimate(value=mean, low=_known(mean - reach), high=_known(mean + reach), p=None, mde=None)
            found = [number(mean, 4, signed=True), interval(estimate, 4), number(_known(spread), 4)]
            rows.append([name, title(metric), f"{len(values)}", *found])
    return Table(
        name="seeds",
        caption="Over seeds: mean of the main changes, with the t interval over the runs, and their SD.",
        columns=["Arm", "Metric", "Runs", "Mean change", "95 % interval", "SD"],
        rows=rows,
    )


def replicates(arms: Sequence[Arm]) -> list[list[Arm]]:
    """Arms that differ in their seeds alone, together."""
    cells: dict[str, list[Arm]] = {}
    for arm in arms:
        cell = {name: value for name, value in design(arm.results.run).items() if name not in REPLICATE}
        cells.setdefault(repr(cell), []).append(arm)
    return list(cells.values())


def cost_table(arms: Sequence[Arm]) -> Table:
    """What each run took."""
    rows = []
    for arm in arms:
        run, spent = arm.results.run, cost(arm.results)
        gpus = [gpu["name"] for gpu in run["hardware"]["gpus"]]
        rows.append(
            [
                arm.label,
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
    for arm in arms:
        run = arm.results.run
        commit = run["git"]["commit"]
        rows.append(
            [
                arm.label,
                arm.results.directory.relative_to(study).as_posix(),
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
    return [number(change.value, metric.decimals, signed=True), interval(change, metric.decimals)]


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
