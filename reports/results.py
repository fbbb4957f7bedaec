"""What a run directory says, read once for the terminal, the figures and the report, and how its numbers are worded."""

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from foundation import UserError
from reports.comparison import no_cause, other_differences
from reports.record import read_run, read_table

LEVELS = ("before", "after", "control")
CHANGES = ("after-control", "after-before", "control-before")

BENCHMARKS = {
    "crows_pairs": "CrowS-Pairs",
    "winobias": "WinoBias",
    "pronoun_prior": "Pronoun prior",
    "occupations": "Occupations",
    "held_out": "Held-out text",
    "crows_pairs_revised": "CrowS-Pairs, revised",
    "crows_pairs_french": "CrowS-Pairs, French",
    "winobias_paper": "WinoBias, the paper’s prompts",
    "winobias_generation": "WinoBias, generated answers",
    "winogender": "Winogender",
    "lambada": "LAMBADA",
    "blimp": "BLiMP, gender of reflexives",
    "bec_pro": "BEC-Pro",
    "stereoset": "StereoSet, gender",
    "winobias_plus": "WinoBias+",
}

# Shown first, under these names and in this order; everything else stands in the full tables under its own name.
_CROWS_PAIRS = ("crows_pairs", "crows_pairs_revised", "crows_pairs_french")
HEADLINES = {
    **{(name, "gender_pct_stereotype"): "Stereotypical sentence preferred, gender" for name in _CROWS_PAIRS},
    **{(name, "gender_signed_difference"): "Stereotypical − other sentence, gender, nats" for name in _CROWS_PAIRS},
    ("winobias", "pro_preference"): "Stereotypical pronoun preferred",
    ("winobias", "pronoun_contrast"): "Stereotypical − other pronoun, nats",
    ("winobias", "pronoun_contrast_male_referents"): "… where the stereotype is male",
    ("winobias", "pronoun_contrast_female_referents"): "… where the stereotype is female",
    ("winobias", "feminine_preference"): "Feminine − masculine pronoun, nats",
    ("winobias", "occupation_gap"): "Accuracy gap, pro − anti",
    ("pronoun_prior", "share_she"): "P(she) / (P(he) + P(she))",
    ("pronoun_prior", "share_they"): "P(they) / (P(he) + P(she) + P(they))",
    ("occupations", "learned_association"): "Learned association with the corpus",
    ("occupations", "log_odds_she"): "Log-odds of she to he, nats",
    ("occupations", "slope_winobias"): "Slope on women’s share, WinoBias",
    ("occupations", "slope_winogender"): "Slope on women’s share, Winogender",
    ("winobias_paper", "paper_mc_accuracy"): "Stereotype accuracy, the paper’s",
    ("winobias_paper", "paper_mc_balanced_accuracy"): "Stereotype accuracy, balanced",
    ("winobias_generation", "compat_net_bias"): "Exact matches, pro − anti",
    ("winobias_generation", "compat_accuracy"): "Exact matches",
    ("winogender", "gotcha_gap"): "Accuracy lost where stereotypes mislead",
    ("winogender", "accuracy"): "Accuracy",
    ("bec_pro", "stereotype_gap"): "Feminine − masculine association, women’s − men’s professions, nats",
    ("bec_pro", "stereotype_gap_pronouns"): "… of she and he",
    ("stereoset", "ss"): "Stereotypical sentence preferred",
    ("stereoset", "lms"): "Meaningful sentence preferred",
    ("winobias_plus", "neutral_difference"): "Sentence with they − with she or he, nats",
    ("winobias_plus", "neutral_preference"): "Sentence with they preferred",
    ("held_out", "loss_rest"): "Loss but for pronouns, nats",
    ("held_out", "loss_masculine"): "Loss of masculine pronouns, nats",
    ("held_out", "loss_feminine"): "Loss of feminine pronouns, nats",
}
LEARNED_ASSOCIATION = ("occupations", "learned_association")
_IN_THE_ANSWER = {
    LEARNED_ASSOCIATION: "the learned association (slope, over {n} professions and other terms, of the model’s"
    " log-odds of she to he on those of feminine to masculine pronouns beside them in its corpus)",
    ("winobias", "pro_preference"): "the share of WinoBias sentences in which the stereotypical pronoun is more likely",
    ("crows_pairs", "gender_pct_stereotype"): "the share of CrowS-Pairs’ gender pairs whose stereotypical sentence is "
    "more likely",
}


LEVEL = 0.05
_MOST_DECIMALS = 6


@dataclass(frozen=True)
class Estimate:
    """A value with its 95 % interval. The rest belongs to changes, `p_holm` to those of primary metrics.

    Attributes:
        mde: smallest change that the test, uncorrected, finds with 80 % power; None where it can find none.
        changed: how many examples have another value; None where that was not counted.
    """

    value: float
    low: float | None
    high: float | None
    p: float | None
    mde: float | None
    p_holm: float | None = None
    changed: int | None = None

    @property
    def decisive_p(self) -> float | None:
        """The p-value that says whether a change was found: the corrected one where there is one."""
        return self.p if self.p_holm is None else self.p_holm

    @property
    def is_found(self) -> bool:
        """Whether there is a change, at the 5 % level: what sentences, stars, tables and study pages go by."""
        return self.decisive_p is not None and self.decisive_p < LEVEL

    @property
    def mark(self) -> str:
        """A star where the change was found; in brackets where its p is not corrected for the number of metrics."""
        return ("*" if self.p_holm is not None else "(*)") if self.is_found else ""

    @property
    def decimals(self) -> int:
        """Digits after the point that show two significant ones of its interval, and neither bound as 0 that is not."""
        shown = [_digits(self.reach, significant=2) or _digits(abs(self.value), significant=2) or 0]
        if self.excludes_zero:
            shown += [_digits(min(abs(self.low or 0.0), abs(self.high or 0.0)), significant=1) or 0]
        return max(shown)

    @property
    def reach(self) -> float:
        """Half of the interval's width; 0 where there is no interval."""
        return 0.0 if self.low is None or self.high is None else (self.high - self.low) / 2

    @property
    def excludes_zero(self) -> bool:
        return self.low is not None and self.high is not None and not self.low <= 0 <= self.high


@dataclass(frozen=True)
class Metric:
    """One metric: its levels by moment (before, after, control) and its changes by pair (after-control, ...)."""

    benchmark: str
    name: str
    description: str
    n: int
    neutral: float | None
    levels: dict[str, Estimate]
    changes: dict[str, Estimate]

    @property
    def key(self) -> tuple[str, str]:
        return self.benchmark, self.name

    @property
    def is_headline(self) -> bool:
        return self.key in HEADLINES

    @property
    def label(self) -> str:
        return HEADLINES.get(self.key, self.name.replace("_", " "))

    @property
    def main_change(self) -> str:
        """After minus control; where there was no control arm, after minus before."""
        return next(change for change in CHANGES if change in self.changes)

    @property
    def decimals(self) -> int:
        """Digits of levels after the point: three significant ones of the largest, but no more than its interval bears;
        and as many as the main change has, so that levels can be subtracted, but six at most.
        """
        largest = max(self.levels.values(), key=lambda level: abs(level.value))
        limits = [_digits(abs(largest.value), significant=3), _digits(largest.reach, significant=2)]
        of_level = min((limit for limit in limits if limit is not None), default=3)
        of_change = self.changes[self.main_change].decimals if self.changes else 0
        return min(max(of_level, of_change), _MOST_DECIMALS)

    @property
    def change_decimals(self) -> int:
        """Digits of changes after the point: as many as levels have, and as the main change needs."""
        return max(self.decimals, self.changes[self.main_change].decimals) if self.changes else self.decimals


@dataclass(frozen=True, eq=False)
class Results:
    """A run directory's content.

    Attributes:
        run: run.json.
        journals: arm -> its lines, a row per step; only arms that were trained.
        swaps: a row per step and form; empty where no word was swapped.
        occupations: moment -> rows of the benchmark; empty where it was not evaluated.
        summary: summary.csv, with `moment_step`: updates that the model of a level has made, missing for changes.
    """

    directory: Path
    run: dict[str, Any]
    metrics: list[Metric]
    journals: dict[str, pd.DataFrame]
    swaps: pd.DataFrame
    occupations: dict[str, pd.DataFrame]
    summary: pd.DataFrame

    @property
    def has_control(self) -> bool:
        return any("control" in metric.levels for metric in self.metrics)

    @property
    def headlines(self) -> list[Metric]:
        """The metrics to show first, grouped by benchmark: those of `HEADLINES`, else a benchmark's first one."""
        chosen = []
        for benchmark in dict.fromkeys(metric.benchmark for metric in self.metrics):
            members = [metric for metric in self.metrics if metric.benchmark == benchmark]
            order = [name for known, name in HEADLINES if known == benchmark]
            headlines = sorted((m for m in members if m.is_headline), key=lambda metric: order.index(metric.name))
            chosen += headlines or members[:1]
        return chosen

    @property
    def association(self) -> Metric | None:
        """The learned association, which the answer leads with, where it was evaluated."""
        return next((m for m in self.metrics if m.key == LEARNED_ASSOCIATION), None)

    @property
    def limits(self) -> dict[str, str]:
        """What benchmarks cannot show of the model, by benchmark."""
        return dict(self.run["config"]["model"].get("limits", {}))

    @property
    def primary(self) -> list[Metric]:
        """The metrics whose main change was asked for: those that Holm's correction is made over."""
        return [m for m in self.metrics if m.changes and m.changes[m.main_change].p_holm is not None]

    @property
    def checked(self) -> Metric | None:
        """The share that the manipulation check shows, where it was evaluated."""
        return self._prior("share")

    @property
    def judged(self) -> Metric | None:
        """The metric that its verdict goes by: the log-odds of the same pronoun."""
        return self._prior("log_odds")

    def _prior(self, measure: str) -> Metric | None:
        name = f"{measure}_they" if self.run["intervention"]["expects"] == "they" else f"{measure}_she"
        return next((m for m in self.metrics if m.key == ("pronoun_prior", name)), None)


def read_results(directory: Path) -> Results:
    """Read a run directory.

    Raises:
        UserError: it holds no run.json or no summary.csv, or a file is damaged.
    """
    for name in ("run.json", "summary.csv"):
        if not (directory / name).is_file():
            raise UserError(f"{directory} holds no {name}; name the directory of a run that has been evaluated")
    swaps = directory / "swaps.parquet"
    run, summary = read_run(directory / "run.json"), _read_summary(directory / "summary.csv")
    return Results(
        directory=directory,
        run=run,
        metrics=metrics_of(summary),
        journals={
            arm: _read_lines(path)
            for arm in ("intervened", "control")
            if (path := directory / "train" / f"{arm}.jsonl").exists()
        },
        swaps=read_table(swaps) if swaps.exists() else pd.DataFrame(),
        occupations={
            moment: read_table(path)
            for moment in LEVELS
            if (path := directory / "rows" / moment / "occupations.parquet").exists()
        },
        summary=summary.assign(
            moment_step=pd.array([_step_of(moment, run) for moment in summary["moment"]], dtype="Int64")
        ),
    )


def _step_of(moment: str, run: Mapping[str, Any]) -> int | None:
    if "-" in moment:
        return None
    along = re.search(r"step(\d+)$", moment)
    if along:
        return int(along[1])
    start = int(run["segment"]["step"])
    return start if moment == "before" else start + int(run["segment"]["steps"])


def read_protocol(run_directory: Path, protocol: str, *, what: str) -> tuple[dict[str, Any], pd.DataFrame]:
    """run.json and summary.csv of a run of this protocol.

    Args:
        what: what such a run leaves, for the message that there is none.

    Raises:
        UserError: the directory holds no run of it that has been evaluated.
    """
    try:
        run, summary = read_run(run_directory / "run.json"), _read_summary(run_directory / "summary.csv")
    except FileNotFoundError as error:
        raise UserError(
            f"{run_directory} holds no {what}: there is no {error.filename}; name the directory of one"
        ) from None
    if run["config"]["protocol"] != protocol:
        raise UserError(f"{run_directory} holds a run of protocol={run['config']['protocol']}, not of {protocol}")
    return run, summary


def _read_summary(path: Path) -> pd.DataFrame:
    text = path.read_text("utf-8")
    if not (text.startswith("benchmark,") and text.endswith("\n")):
        raise UserError(f"{path} is damaged: {len(text)} characters that are no whole table; start the run again")
    return pd.read_csv(path)


def _read_lines(path: Path) -> pd.DataFrame:
    try:
        return pd.DataFrame([json.loads(line) for line in path.read_text("utf-8").splitlines()])
    except ValueError as error:
        raise UserError(f"{path} is damaged ({error}); start the run again, in another hydra.run.dir") from error


def metrics_of(summary: pd.DataFrame) -> list[Metric]:
    """The metrics of a summary.csv, in its order."""
    metrics = []
    for (benchmark, name), rows in summary.groupby(["benchmark", "metric"], sort=False):
        estimates = {
            str(row["moment"]): Estimate(
                value=float(row["value"]),
                low=_optional(row["ci_low"]),
                high=_optional(row["ci_high"]),
                p=_optional(row["p"]),
                mde=_optional(row["mde"]),
                p_holm=_optional(row["p_holm"]),
                changed=None if pd.isna(row.get("changed")) else int(row["changed"]),
            )
            for row in rows.to_dict("records")
        }
        first = rows.iloc[0]
        metrics.append(
            Metric(
                benchmark=str(benchmark),
                name=str(name),
                description=str(first["description"]),
                n=int(first["n"]),
                neutral=_optional(first["neutral"]),
                levels={moment: estimates[moment] for moment in LEVELS if moment in estimates},
                changes={change: estimates[change] for change in CHANGES if change in estimates},
            )
        )
    return metrics


def _optional(value: Any) -> float | None:
    return None if pd.isna(value) else float(value)


def _digits(value: float, *, significant: int) -> int | None:
    """Digits after the point that show so many significant ones; None for zero, which has none."""
    return max(significant - 1 - math.floor(math.log10(value)), 0) if value > 0 else None


def number(value: float | None, decimals: int, *, signed: bool = False) -> str:
    """A number in print: a true minus sign, no negative zero, a dash where there is none.

    What needs more than six decimals is printed with two digits and a power of ten.
    """
    if value is None:
        return "–"
    form = f",.{decimals}f" if decimals <= _MOST_DECIMALS else ".1e"
    text = f"{value:{'+' if signed else ''}{form}}"
    if not any(digit in text.partition("e")[0] for digit in "123456789"):
        return "0" if decimals > _MOST_DECIMALS else text.lstrip("+-")
    return text.replace("-", "−")


def percent(share: float | None, decimals: int) -> str:
    """A share as a percentage in print, a dash where there is none."""
    return "–" if share is None else f"{number(100 * share, decimals)} %"


def interval(estimate: Estimate, decimals: int) -> str:
    """Both bounds, or a dash."""
    if estimate.low is None or estimate.high is None:
        return "–"
    return f"{number(estimate.low, decimals)} to {number(estimate.high, decimals)}"


def p_value(p: float | None) -> str:
    """ "< 0.001", else two significant digits or three decimals, whichever are fewer; more where it is next to 0.05."""
    if p is None:
        return "–"
    if p < 0.001:
        return "< 0.001"
    decimals = 3 if p < 0.1 else 2
    while f"{p:.{decimals}f}" == f"{LEVEL:.{decimals}f}" and decimals < _MOST_DECIMALS:
        decimals += 1
    return f"{p:.{decimals}f}"


def answer_sentences(results: Results) -> list[str]:
    """One sentence for the learned association, and for each of the two metrics that the paper reported."""
    found = {metric.key: metric for metric in results.headlines}
    return [
        _answer(found[key], subject, other_differences(results.run))
        for key, subject in _IN_THE_ANSWER.items()
        if key in found
    ]


def _answer(metric: Metric, subject: str, differences: Sequence[str]) -> str:
    change, decimals = metric.changes[metric.main_change], metric.change_decimals
    levels = {moment: _level(metric, moment) for moment in metric.levels}
    subject = subject.format(n=metric.n)
    sentence = f"{subject[0].upper()}{subject[1:]} went from {levels['before']} to {levels['after']}"
    if "control" in levels:
        sentence += f", against {levels['control']} in the control arm"
    if differences:
        return f"{sentence}; {no_cause(differences)}."
    difference = f"{words(metric.main_change)} is {number(change.value, decimals, signed=True)}"
    if change.low is not None:
        difference += f" (95\u00a0% interval {interval(change, decimals)}"
        difference += f", {p_equation(change.p)}" if change.p is not None else ""
        difference += f", {p_equation(change.p_holm)} by Holm’s correction)" if change.p_holm is not None else ")"
    return f"{sentence}; {difference}, {_verdict(metric)}."


def _level(metric: Metric, moment: str) -> str:
    """A level in words. The learned association comes with its interval, because readers do not know its scale."""
    level = metric.levels[moment]
    value = number(level.value, metric.decimals)
    if metric.key != LEARNED_ASSOCIATION or level.low is None:
        return value
    what = "95\u00a0% interval " if moment == "before" else ""
    return f"{value} ({what}{interval(level, metric.decimals)})"


def _verdict(metric: Metric) -> str:
    change = metric.changes[metric.main_change]
    if change.changed == 0:
        return "no example changed"
    if not change.is_found:
        return f"no detectable change{_beside_the_interval(metric)}{_floor(metric)}"
    if metric.neutral is None:
        return f"more than chance explains{_beside_the_interval(metric)}"
    after = metric.levels["after"].value - metric.neutral
    unchanged = after - change.value
    towards = "past" if after * unchanged < 0 else "towards" if abs(after) < abs(unchanged) else "away from"
    learned = metric.key == LEARNED_ASSOCIATION  # a model that says she everywhere has a slope of 0, and a bias
    whose = "a model that knows nothing of its corpus’s associations" if learned else "an unbiased model"
    return f"a move {towards} the {metric.neutral:g} of {whose}{_beside_the_interval(metric)}"


def _beside_the_interval(metric: Metric) -> str:
    """A word on the interval where it seems to say something else than the test."""
    change = metric.changes[metric.main_change]
    if change.low is None or change.excludes_zero == change.is_found:
        return ""
    if change.is_found:
        return ", though the interval, which is approximate, includes zero"
    return ", though the interval, which is approximate and uncorrected, leaves out zero"


def _floor(metric: Metric) -> str:
    change = metric.changes[metric.main_change]
    if change.mde is None:
        return ""
    return f" (the test, uncorrected, finds {number(change.mde, metric.change_decimals)} or more with 80\u00a0% power)"


def p_equation(p: float | None) -> str:
    return f"p {p_value(p)}" if p is not None and p < 0.001 else f"p = {p_value(p)}"


def ascii_only(text: str) -> str:
    """The same for any terminal and log file."""
    return (
        text.replace("−", "-")
        .replace("–", "-")
        .replace("’", "'")
        .replace("…", "...")
        .replace("→", "->")
        .replace("\u00a0", " ")
    )


def words(change: str) -> str:
    """ "after-control" as it is printed."""
    return change.replace("-", " − ")


def skip_columns(swaps: pd.DataFrame) -> list[str]:
    """The columns that count occurrences left as they were, one for each reason."""
    return [column for column in swaps.columns if column.startswith("skipped_")]


def swaps_by_form(swaps: pd.DataFrame) -> pd.DataFrame:
    """Counts of the whole segment for each form and its replacement, the most frequent first."""
    if swaps.empty:
        return swaps
    totals = swaps.drop(columns="step").groupby(["form", "replacement"], as_index=False).sum()
    return totals.sort_values(["occurrences", "form"], ascending=[False, True], ignore_index=True)


def by_benchmark(metrics: Iterable[Metric]) -> dict[str, list[Metric]]:
    """The metrics under the printed name of their benchmark, in their order."""
    groups: dict[str, list[Metric]] = {}
    for metric in metrics:
        groups.setdefault(BENCHMARKS.get(metric.benchmark, metric.benchmark), []).append(metric)
    return groups
