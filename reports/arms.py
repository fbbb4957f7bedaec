"""The arms of a study: its runs under names that tell them apart, each text on each start once, by suite and cell."""

import hashlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from reports.comparison import (
    ANY,
    DESIGN,
    OF_INTERVENTION,
    SEEDS,
    design,
    idle,
    in_configuration,
    in_print,
    labels,
    no_cause,
    other_differences,
    settings,
    told_apart_by,
    without,
    word,
)
from reports.results import Metric, Results

Member = TypeVar("Member")


@dataclass(frozen=True, kw_only=True, eq=False)
class Arm:
    """A run of a study under the name that tells it apart from the others.

    Attributes:
        suite: the same for arms that continue one suite: it has the same seed, or the very same weights.
        copies: runs that trained on the same text from the same weights in the same way; they are not counted.
    """

    label: str
    results: Results
    suite: str
    copies: tuple[Results, ...] = ()

    @cached_property
    def settings(self) -> dict[str, Any]:
        """See `comparison.settings`."""
        return settings(self.results.run)

    @cached_property
    def all_settings(self) -> list[dict[str, Any]]:
        """The settings of the run, then those of its copies."""
        return [self.settings, *(settings(each.run) for each in self.copies)]

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
    shown = [_of_any([settings(each.run) for each in group]) for group in groups]
    names = unique_labels(shown, [group[0] for group in groups])
    suites = suites_of([each for group in groups for each in group])
    return [
        Arm(label=name, results=group[0], suite=str(suites[id(group[0])]), copies=tuple(group[1:]))
        for name, group in zip(names, groups, strict=True)
    ]


def _sortable(value: Any) -> tuple[float, str]:
    return (float(value), "") if isinstance(value, int | float) else (float("inf"), str(value))


def _of_any(alike: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The settings of copies, with those that differ, and so have no effect, for any value."""
    return {**alike[0], **dict.fromkeys(without_effect(alike), ANY)}


def without_effect(alike: Sequence[Mapping[str, Any]]) -> list[str]:
    """The settings in which copies differ; those of an intervention are its own where the interventions differ."""
    names = told_apart_by(alike)
    return [name for name in names if not _of_intervention(name)] if "intervention" in names else names


def _of_intervention(name: str) -> bool:
    return name in OF_INTERVENTION or name.startswith("intervention.")


def copies(runs: Sequence[Results]) -> list[list[Results]]:
    """The runs in the order of their designs, those together that did the very same, whatever was set for it.

    What a run did is known by the hash of its arm (`arm` of run.json); else by the weights that it began with, the text
    that it was trained on and the settings of its training, or, where others trained the model, by its weights. Runs
    that are evaluated or controlled in other ways are no copies of one another, nor those of which nothing is recorded.
    """
    compared = {id(each): settings(each.run) for each in runs}
    order = dict.fromkeys([*DESIGN, *told_apart_by(list(compared.values()))])
    ordered = sorted(runs, key=lambda each: [_sortable(compared[id(each)].get(name)) for name in order])
    groups = _sharing_a_key((each, _done(each, compared[id(each)])) for each in ordered)
    for group in groups:  # unmodified text is that of `none`, whatever else would have left it so
        group.sort(key=lambda each: compared[id(each)]["intervention"] != "none")
    return groups


def _done(results: Results, own: Mapping[str, Any]) -> list[str]:
    """By what each of two runs can be known to have done the same.

    Args:
        own: the settings of the run.
    """
    run, found = results.run, []
    if run.get("arm"):  # a hash of all that decides the arm's numbers: see `conf.sharing`
        evaluated = {name: value for name, value in own.items() if name.startswith("benchmarks.")}
        found.append(f"{json.dumps(run['arm'], sort_keys=True)} {own['control']} {without(evaluated)}")
    start, text = run["checkpoint"].get("sha256"), run.get("fingerprints", {}).get("intervened_segment_sha256")
    alike = without(own, *SEEDS)
    if "intervention" not in run:
        text = json.dumps(run["segment"], sort_keys=True)
    elif run["intervention"]["name"] == "audited":
        text = run["intervention"]["identity"]
    else:  # the text stands for what was done to it, but for labels that were masked and for code that others lack
        masked = run["intervention"]["name"] == "drop"
        alike = f"{without(own, *SEEDS, *OF_INTERVENTION, 'fidelity.')} {own.get('intervention.code')} {masked}"
    if start and text:
        found.append(f"{alike} {start} {text} {_ledger(results)}")
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
    """Arms that differ in their seeds alone, together, or in what has no effect on one of them."""
    return _sharing_a_key((arm, [without(each, *SEEDS) for each in arm.all_settings]) for arm in arms)


def _sharing_a_key(keyed: Iterable[tuple[Member, Sequence[str]]]) -> list[list[Member]]:
    """Members in their order, each in the group of the first of its keys that an earlier member has."""
    groups: list[list[Member]] = []
    known: dict[str, list[Member]] = {}
    for member, keys in keyed:
        group = next((known[key] for key in keys if key in known), None)
        if group is None:
            group = []
            groups.append(group)
        group.append(member)
        known |= dict.fromkeys(keys, group)
    return groups


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
    by_settings: dict[tuple[str, ...], list[str]] = {}
    renamed, again = [], []
    for arm in arms:
        values = _values_without_effect(arm)
        if values:
            told = [shown if len(values) == 1 else f"{name}: {shown}" for name, shown in values.items()]
            by_settings.setdefault(tuple(values), []).append(f"{arm.label} ({'; '.join(told)})")
        others = {
            f"{word('intervention', own['intervention'])}, fraction {in_print(own['fraction'])}": None
            for own in arm.all_settings[1:]
            if own["intervention"] != arm.settings["intervention"]
        }
        if others:
            renamed.append(f"{arm.label} (also {'; '.join(others)})")
        if not (values or others):
            again.append(f"{arm.label} ({1 + len(arm.copies)} runs)")
    sentences = []
    for names, told in by_settings.items():
        these = "this arm" if len(told) == 1 else "these arms"
        subject = " and ".join("the seed" if name == "seed" else name for name in names)
        sentences.append(
            f"{subject[0].upper() if names[0] == 'seed' else subject[0]}{subject[1:]} "
            f"{'has' if len(names) == 1 else 'have'} no effect on {these}: {'; '.join(told)}. The runs of the "
            f"{'seeds' if names == ('seed',) else 'values'} in brackets had the same text and the same start; they are "
            f"one arm, and counted once."
        )
    if renamed:
        sentences.append(
            f"The same text and the same start under several names are one arm, counted once: {'; '.join(renamed)}."
        )
    if again:
        sentences.append(f"Run more than once alike, and counted once: {'; '.join(again)}.")
    return sentences


def _values_without_effect(arm: Arm) -> dict[str, str]:
    """What an arm's runs were set to where that had no effect, by the setting's name in the configuration."""
    compared = arm.all_settings
    found = {in_configuration(name): [each.get(name) for each in compared] for name in without_effect(compared)}
    unread = [idle(each.run) for each in (arm.results, *arm.copies)]
    found |= {name: [each.get(name) for each in unread] for name in sorted({name for each in unread for name in each})}
    shown = {}
    for name, values in found.items():
        if len(different := {repr(value): value for value in values}) > 1:
            ordered = sorted(different.values(), key=_sortable)
            shown[name] = ", ".join("none" if value is None else in_print(value) for value in ordered)
    return shown
