"""The arms of a study: its runs under names that tell them apart, each text on each start once, by suite and cell."""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from reports.comparison import (
    ANY,
    DESIGN,
    SEEDS,
    design,
    labels,
    no_cause,
    other_differences,
    settings,
    told_apart_by,
    without,
)
from reports.results import Metric, Results


@dataclass(frozen=True, kw_only=True, eq=False)
class Arm:
    """A run of a study under the name that tells it apart from the others.

    Attributes:
        suite: the same for arms that continue one suite: it has the same seed, or the very same weights.
        copies: runs that trained on the same text from the same weights with the same settings; they are not counted.
    """

    label: str
    results: Results
    suite: str
    copies: tuple[Results, ...] = ()

    @cached_property
    def settings(self) -> dict[str, Any]:
        """See `comparison.settings`."""
        return settings(self.results.run)

    @property
    def key(self) -> str:
        """What no other arm has."""
        return str(self.results.directory)

    @property
    def checked(self) -> Metric | None:
        """The metric of the manipulation check, where there is one to be made."""
        metric = self.results.checked
        return metric if metric is not None and metric.changes else None

    @property
    def judged(self) -> Metric | None:
        """The metric that its verdict goes by."""
        metric = self.results.judged
        return metric if metric is not None and metric.changes else None

    @property
    def primary(self) -> list[Metric]:
        """The metrics that the study asks for."""
        return self.results.primary

    def metric(self, benchmark: str, name: str) -> Metric | None:
        """The metric of that name, where it was evaluated."""
        return next((m for m in self.results.metrics if (m.benchmark, m.name) == (benchmark, name)), None)


def arms_of(runs: Sequence[Results]) -> list[Arm]:
    """The runs that have an intervention, in the order of their designs; of runs that are copies, the first alone."""
    groups = copies([each for each in runs if "intervention" in each.run])
    shown = [_of_any_seed([settings(each.run) for each in group]) for group in groups]
    names = unique_labels(shown, [group[0] for group in groups])
    suites = suites_of([each for group in groups for each in group])
    return [
        Arm(label=name, results=group[0], suite=str(suites[id(group[0])]), copies=tuple(group[1:]))
        for name, group in zip(names, groups, strict=True)
    ]


def _sortable(value: Any) -> tuple[float, str]:
    return (float(value), "") if isinstance(value, int | float) else (float("inf"), str(value))


def _of_any_seed(alike: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The settings of copies, whose seeds have no effect where they differ."""
    without_effect = [name for name in SEEDS if len({each[name] for each in alike}) > 1]
    return {**alike[0], **dict.fromkeys(without_effect, ANY)}


def copies(runs: Sequence[Results]) -> list[list[Results]]:
    """The runs in the order of their designs, those together that did the very same: their seeds changed nothing.

    What a run did is known by the weights that it began with and by the text that it was trained on, or, where others
    trained the model, by its weights. Runs of which that is not recorded are no copies of one another.
    """
    groups: list[list[Results]] = []
    known: dict[str, list[Results]] = {}
    compared = {id(each): settings(each.run) for each in runs}
    order = dict.fromkeys([*DESIGN, *told_apart_by(list(compared.values()))])
    for each in sorted(runs, key=lambda each: [_sortable(compared[id(each)].get(name)) for name in order]):
        alike = without(compared[id(each)], *SEEDS)
        keys = [f"{alike} {done}" for done in _done(each)]
        group = next((known[key] for key in keys if key in known), None)
        if group is None:
            group = []
            groups.append(group)
        group.append(each)
        known |= dict.fromkeys(keys, group)
    return groups


def _done(results: Results) -> list[str]:
    """By what each of two runs with the same settings can be known to have done the same."""
    run = results.run
    found = [json.dumps(run["arm"], sort_keys=True)] if run.get("arm") else []
    start, text = run["checkpoint"].get("sha256"), run.get("fingerprints", {}).get("intervened_segment_sha256")
    if "intervention" not in run:
        text = run["segment"].get("sha256_of_first_batch")
    elif run["intervention"]["name"] == "audited":
        text = run["intervention"]["identity"]
    if start and text:
        found.append(f"{start} {text} {_ledger(results)}")
    return found


def _ledger(results: Results) -> str:
    """Fingerprint of what was swapped in each step: where labels are masked the text does not tell."""
    journal = results.journals.get("intervened")
    if journal is None or "swapped_sha256" not in journal:
        return ""
    return hashlib.sha256("".join(map(str, journal["swapped_sha256"])).encode()).hexdigest()


def suites_of(runs: Sequence[Results]) -> dict[int, int | None]:
    """The seed of each run's suite, by `id` of the run; an earlier run's, where both begin with the same weights.

    A suite's seed that changes nothing, as where `model.checkpoints` names what is continued, makes no suite.
    """
    seed_of: dict[str, int | None] = {}
    found = {}
    for each in runs:
        seed, weights = design(each.run)["model_seed"], each.run["checkpoint"].get("sha256")
        found[id(each)] = seed if weights is None else seed_of.setdefault(weights, seed)
    return found


def unique_labels(compared: Sequence[Mapping[str, Any]], runs: Sequence[Results]) -> list[str]:
    """Labels of which no two are the same: by what differs among their settings, else in the path of their directories.

    Args:
        compared: settings of each run, all of them or some.
    """
    names = labels(compared) if compared else []
    directories = [each.directory for each in runs]
    places: dict[str, list[Path]] = {}
    for name, directory in zip(names, directories, strict=True):
        places.setdefault(name, []).append(directory)
    told = {path: part for paths in places.values() if len(paths) > 1 for path, part in _telling_parts(paths).items()}
    return [
        ", ".join(filter(None, [name, told.get(directory)])) for name, directory in zip(names, directories, strict=True)
    ]


def _telling_parts(paths: Sequence[Path]) -> dict[Path, str]:
    """Of each path what lies between the parts that all begin with and those that all end with."""
    parts = {path: path.resolve().parts for path in paths}
    begin = len(Path(os.path.commonpath(path.resolve() for path in paths)).parts)
    shortest = min(map(len, parts.values())) - begin
    end = 0
    while end < shortest - 1 and len({own[-1 - end] for own in parts.values()}) == 1:
        end += 1
    return {path: "/".join(own[begin : len(own) - end]) for path, own in parts.items()}


def cells(arms: Sequence[Arm]) -> list[list[Arm]]:
    """Arms that differ in their seeds alone, together."""
    found: dict[str, list[Arm]] = {}
    for arm in arms:
        found.setdefault(without(arm.settings, *SEEDS), []).append(arm)
    return list(found.values())


def asked(arms: Sequence[Arm]) -> dict[tuple[str, str], Metric]:
    """The checked shares and the primary metrics that any arm has, by benchmark and name; each as one arm has it."""
    found = [metric for arm in arms for metric in (arm.checked,) if metric is not None]
    found += [metric for arm in arms for metric in arm.primary]
    return {(metric.benchmark, metric.name): metric for metric in found}


def notes(arms: Sequence[Arm]) -> list[str]:
    """Which runs are copies, whose control differs in more than the text, and whether there is but one suite."""
    sentences = _copied([arm for arm in arms if arm.copies])
    sentences += [
        f"{arm.label}: {no_cause(differences)}." for arm in arms if (differences := other_differences(arm.results.run))
    ]
    if arms and all(len({arm.suite for arm in cell}) == 1 for cell in cells(arms)):
        sentences.append(
            "Each arm is of one suite: these runs cannot say whether suites of other initial weights would show the "
            "same. Draws of one suite (seed) tell how much the choice of the text matters, and no more."
        )
    return sentences


def _copied(arms: Sequence[Arm]) -> list[str]:
    """Which arms were run more than once, and why that made no difference."""
    seeds = {arm.key: sorted({each.run["config"]["seed"] for each in (arm.results, *arm.copies)}) for arm in arms}
    drawn = [f"{arm.label} ({', '.join(map(str, seeds[arm.key]))})" for arm in arms if len(seeds[arm.key]) > 1]
    again = [f"{arm.label} ({1 + len(arm.copies)} runs)" for arm in arms if len(seeds[arm.key]) == 1]
    sentences = []
    if drawn:
        these = "this arm" if len(drawn) == 1 else "these arms"
        sentences.append(
            f"The seed has no effect on {these}: {'; '.join(drawn)}. The runs of the seeds in brackets had the same "
            f"text and the same start; they are one arm, and counted once."
        )
    if again:
        sentences.append(f"Run more than once alike, and counted once: {'; '.join(again)}.")
    return sentences
