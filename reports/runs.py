"""Finished runs below a directory, and all their numbers as one tidy table: nothing is evaluated again."""

import json
import statistics
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from foundation import UserError, atomic_file, write_text
from reports.arms import copies, suites_of
from reports.comparison import DESIGN, other_differences, settings, told_apart_by
from reports.manipulation import verdict
from reports.results import Results, read_results

# Columns of every table; those of other settings that differ follow the design's.
COLUMNS = (
    "run",
    *DESIGN,
    "suite",
    "copy_of",
    "verdict",
    "commit",
    "tokens",
    "train_s",
    "tokens_per_s",
    "mfu",
    "data_stall",
    "benchmark",
    "metric",
    "moment",
    "kind",
    "moment_step",
    "value",
    "n",
    "ci_low",
    "ci_high",
    "p",
    "test",
    "p_holm",
    "mde",
    "primary",
    "neutral",
)
# What a study's directory holds beside its runs: what they have in common, and what `reports.write_study` leaves.
STUDY_DIRECTORIES = ("controls", "figures", "tables")


@dataclass(frozen=True, kw_only=True)
class FoundRuns:
    """The directories of finished runs, sorted, and those that were left out, each with the reason."""

    finished: list[Path]
    left_out: dict[Path, str]


def find_runs(paths: Iterable[Path]) -> FoundRuns:
    """Look for finished runs in `paths` and below them.

    A directory with a run.json is a run and is not searched further. Left out are runs that are not finished, runs
    without summary.csv, and directories with no run in or below them: those of `paths`, and those right below one of
    them, where the jobs of a sweep lie. Names that begin with a dot or with an underscore are not looked at.

    Raises:
        UserError: one of `paths` is no directory, or there is no finished run.
    """
    finished: list[Path] = []
    left_out: dict[Path, str] = {}
    paths = list(paths)
    for path in paths:
        if not path.is_dir():
            raise UserError(f"there is no directory {path}; name the directory of a run or of a study")
        runs = _runs_below(path)
        for run in runs:
            reason = _fault(run)
            if reason is None:
                finished.append(run)
            else:
                left_out[run] = reason
        children = [] if path in runs else _children(path)
        without = [
            child
            for child in children
            if child.name not in STUDY_DIRECTORIES and not any(run.is_relative_to(child) for run in runs)
        ]
        left_out |= dict.fromkeys(without if runs else [path], "there is no run.json in or below it")
    if not finished:
        faults = "; ".join(f"{path}: {reason}" for path, reason in left_out.items())
        raise UserError(f"there is no finished run to read, found {faults or 'no path'}; name a directory of runs")
    return FoundRuns(finished=sorted(set(finished)), left_out=left_out)


def has_finished_run(directory: Path) -> bool:
    """Whether there is a finished run in or below a directory."""
    return any(_fault(run) is None for run in _runs_below(directory))


def _runs_below(directory: Path) -> list[Path]:
    if (directory / "run.json").is_file():
        return [directory]
    return [run for child in _children(directory) for run in _runs_below(child)]


def _children(directory: Path) -> list[Path]:
    return sorted(child for child in directory.iterdir() if child.is_dir() and not child.name.startswith((".", "_")))


def _fault(run: Path) -> str | None:
    """Why a directory with a run.json is no finished run of the kit's."""
    try:
        content = json.loads((run / "run.json").read_text("utf-8"))
    except ValueError:
        return "its run.json is no JSON"
    if not isinstance(content, dict) or not {"status", "config", "segment", "checkpoint"} <= content.keys():
        status = content.get("status") if isinstance(content, dict) else None
        return f"it is {status}, not finished" if status == "running" else "its run.json is not of a run of this kit"
    if content["status"] != "finished":
        return f"it is {content['status']}, not finished; the same command with its directory goes on"
    return None if (run / "summary.csv").is_file() else "it holds no summary.csv"


def collect(paths: Iterable[str | Path]) -> pd.DataFrame:
    """All numbers of the finished runs in and below `paths`: one row for each run, benchmark, metric, and moment.

    A pure reading of each run's run.json, summary.csv and journals.

    Columns:
        run: the run's directory.
        protocol, model, deduped, step, steps, sequences_per_step, seed, control, precision, optimizer_state: as run.
        model_seed: of the suite: that of its initial weights where the kit made it, else 0 for Pythia, 1 to 9 for
            PolyPythias.
        intervention: its name; `audited` where others trained the arm. Missing in protocol=fidelity.
        fraction, unit, start, stop: the dose; fraction is 0 where the intervention is none, missing where unknown.
        training.lr, ...: every other setting that differs among the runs, by its name in the configuration.
        suite: the model_seed; of runs that begin with the very same weights, the first one's.
        copy_of: the run that this one is a copy of: the same text from the same weights. Missing where it is none.
        verdict: of the manipulation check; missing where none was to be made.
        tokens, train_s, tokens_per_s, mfu, data_stall: of the arms that this run trained: see `cost`.
        moment: a level's (before, after, control, true, step<N>, ...) or a change's, as after-control.
        kind: level or change.
        moment_step: updates that the model of a level has made; missing for changes.
        value, n, ci_low, ci_high, p, test, p_holm, mde, primary, neutral: as in summary.csv. `p_holm` is of one run.

    Warns:
        UserWarning: directories were left out; each is named with the reason.

    Raises:
        UserError: there is no finished run.
    """
    found = find_runs(map(Path, paths))
    for path, reason in found.left_out.items():
        warnings.warn(f"left out {path}: {reason}", stacklevel=2)
    return tidy([read_results(directory) for directory in found.finished])


def tidy(runs: Iterable[Results]) -> pd.DataFrame:
    """The table of `collect`, of runs that were read."""
    runs = list(runs)
    compared = [settings(results.run) for results in runs]
    differing = [name for name in told_apart_by(compared) if name not in DESIGN]
    columns = [*COLUMNS[: len(DESIGN) + 1], *differing, *COLUMNS[len(DESIGN) + 1 :]]
    suites, first_of = suites_of(runs), {id(copy): group[0] for group in copies(runs) for copy in group[1:]}
    parts = []
    for results, own in zip(runs, compared, strict=True):
        first = {"run": str(results.directory), **{name: own.get(name) for name in (*DESIGN, *differing)}}
        first |= {"suite": suites[id(results)], "verdict": verdict_of(results)}
        first["copy_of"] = str(first_of[id(results)].directory) if id(results) in first_of else None
        first |= {"commit": results.run["git"]["commit"], **cost(results)}
        is_change = results.summary["moment"].str.contains("-", regex=False)
        kind = is_change.map({False: "level", True: "change"})
        parts.append(results.summary.assign(**first, kind=kind).reindex(columns=columns))
    table = pd.DataFrame([row for part in parts for row in part.to_dict("records")], columns=columns)
    return table.astype(_types(compared, differing))


def _types(compared: Sequence[Mapping[str, Any]], differing: Iterable[str]) -> dict[str, str]:
    """The type of each column."""
    whole = (
        "model_seed",
        "suite",
        "step",
        "steps",
        "sequences_per_step",
        "start",
        "stop",
        "seed",
        "tokens",
        "moment_step",
        "n",
    )
    real = (
        "fraction",
        "train_s",
        "tokens_per_s",
        "mfu",
        "data_stall",
        "value",
        "ci_low",
        "ci_high",
        "p",
        "p_holm",
        "mde",
        "neutral",
    )
    words = set(COLUMNS) - {*whole, *real, "deduped", "primary"}
    own = {}
    for name in differing:
        found = {type(each[name]) for each in compared if each.get(name) is not None}
        own[name] = "boolean" if found == {bool} else "float64" if found <= {int, float} else "str"
    return {
        **dict.fromkeys(whole, "Int64"),
        **dict.fromkeys(real, "float64"),
        **dict.fromkeys(words, "str"),
        **dict.fromkeys(("deduped", "primary"), "boolean"),
        **own,
    }


def write_table(table: pd.DataFrame, directory: Path) -> list[Path]:
    """Write runs.parquet and runs.csv; both hold the same rows."""
    paths = [directory / "runs.parquet", directory / "runs.csv"]
    directory.mkdir(parents=True, exist_ok=True)
    with atomic_file(paths[0]) as aside:
        table.to_parquet(aside, index=False)
    write_text(paths[1], table.to_csv(index=False))
    return paths


def verdict_of(results: Results) -> str | None:
    """The verdict of the manipulation check; None where it was not made, or the control differs in more than text."""
    if "intervention" not in results.run or other_differences(results.run):
        return None
    judged = results.judged
    if judged is None or not judged.changes:
        return None
    return verdict(judged.changes[judged.main_change], results.run["intervention"]["expects"])


def cost(results: Results) -> dict[str, Any]:
    """What training took, the arms that this run trained together.

    Returns:
        tokens; train_s; tokens_per_s and mfu, medians of the steps; data_stall, the share of the steps' time in which
        they waited for their batches.
    """
    segment = results.run["segment"]
    seconds = {
        stage.removeprefix("train "): taken
        for stage, taken in results.run["timings_s"].items()
        if stage.startswith("train ")
    }
    lines: list[dict[str, Any]] = []
    for arm in seconds:
        journal = results.directory / "train" / f"{arm}.jsonl"
        if journal.exists():
            lines += [json.loads(line) for line in journal.read_text("utf-8").splitlines()]
    tokens_a_step = segment["sequences_per_step"] * (results.run["corpus"]["row_tokens"] - 1)
    stepped_s = sum(tokens_a_step / line["tokens_per_s"] for line in lines)
    mfus = [line["mfu"] for line in lines if line["mfu"] is not None]
    return {
        "tokens": len(lines) * tokens_a_step,
        "train_s": sum(seconds.values()) if seconds else None,
        "tokens_per_s": statistics.median(line["tokens_per_s"] for line in lines) if lines else None,
        "mfu": statistics.median(mfus) if mfus else None,
        "data_stall": sum(line["data_stall_s"] for line in lines) / stepped_s if lines else None,
    }
