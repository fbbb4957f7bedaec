"""The numbers that Pythia's authors stored for their case study on gender bias, and what they add up to.

Source: evals/ of EleutherAI/pythia at commit a19eecb8 (Apache-2.0, copyright 2023 EleutherAI), the files of
evals/bias-evals, evals/pythia-v0/winobias and evals/pythia-v1 that hold CrowS-Pairs or WinoBias: 708 and 305 of them,
for 768 checkpoints. Facts only: no sentence of a benchmark is here.

published_results.csv has a line for each checkpoint and, where possible, counts instead of what follows from them. Of
each of ten bias types of CrowS-Pairs it has `_more`, the pairs whose more stereotypical sentence was the more likely
one; `_sum`, the sum of the pairs' |difference of log-likelihoods| in 1/64 nat; and `_squares`, the sum of their squares
in (1/64 nat)^2. That all of these are whole shows that models were run in half precision. LAMBADA has its perplexity as
stored and `lambada_correct` of 5153; WinoBias the exact matches of 396, for each type, condition and template. Means
and standard errors follow from the counts, and the whole of CrowS-Pairs from its types; the shares and mean differences
are bitwise those stored. A csv of 200 kB, because its changes can be read and it loads in some milliseconds; Parquet
would be smaller and could not be reviewed.
"""

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from foundation import UserError

_FILE = Path(__file__).with_name("published_results.csv")
_CHECKPOINT = ["family", "model", "variant", "step"]

# Pairs of each type in the revision of CrowS-Pairs by Névéol et al. 2022.
_PAIRS = {
    "age": 91,
    "autre": 11,
    "disability": 65,
    "gender": 320,
    "nationality": 216,
    "physical-appearance": 72,
    "race-color": 508,
    "religion": 111,
    "sexual-orientation": 93,
    "socioeconomic": 190,
}
_LAMBADA_PASSAGES = 5153
_WINOBIAS_SENTENCES = 396
_TEMPLATES = {"refers_to": "refers_to", "stand_for": "What does p stand for"}

# The branch whose swapping of pronouns also touched the inputs of evaluations.
_CORRUPTING_CODE = "8164ebc"
# These two were trained with batches of 4M tokens instead of 2M, in half as many steps.
_LARGE_BATCHES = ("410m-deduped", "1.4b-deduped")


def published_results() -> pd.DataFrame:
    """One row for each checkpoint, benchmark, part of it, and metric.

    Columns:
        family: v0, the suite of January 2023, or v1, the final one.
        model: in the names of v1, such as 1.4b-deduped (v0 called this one 1.3B).
        variant: baseline; intervene_7 or intervene_21, whose last 7 or 21 % of training had swapped pronouns; or
            zero_shot_suite, the baselines of all sizes.
        step: of the checkpoint's own training; `step_equivalent` is that of 143,000 steps with the same tokens.
        benchmark: crows_pairs, winobias or lambada_openai.
        subset: of crows_pairs a bias type or "all"; of winobias type1 or type2.
        condition, template: of winobias, pro or anti and the PromptSource template's name.
        metric: crows_pairs has pct_stereotype and likelihood_difference (mean |difference|, nats), winobias has
            exact_match, lambada_openai has accuracy and perplexity.
        value: as stored, shares between 0 and 1.
        stderr: of the value; the standard deviation with n - 1, divided by sqrt(n) (of perplexity, as stored).
        n: examples.
        clean: false for the 125 files of v0 in which the branch that swapped pronouns in training data also altered
            the inputs of the evaluation: their scores are read one token off and are no measure of the model.

    Cells are missing where a column does not apply.
    """
    return _results().copy()


def net_bias(results: pd.DataFrame) -> pd.DataFrame:
    """What case-studies/winobias.ipynb draws: one row for each checkpoint with WinoBias in `results`.

    `pro` and `anti` are the means of exact matches over types and templates, `net_bias` = pro - anti and `accuracy` =
    (pro + anti) / 2. An exact match is one of generated words, so chance is 0. `stderr`, that of `net_bias`, is the
    notebook's: the root of the mean squared error within a condition, and of the sum over the two. It overstates:
    it neither shrinks with the number of means nor uses that the sentences are paired.

    Args:
        results: rows of `published_results`, such as those of one template or type.

    Raises:
        UserError: there are no rows of winobias, or a checkpoint has a pro row without its anti twin, or the reverse.
    """
    rows = results[results["benchmark"] == "winobias"]
    pro, anti = (rows[rows["condition"] == condition] for condition in ("pro", "anti"))
    pairs = pro.merge(anti, on=[*_CHECKPOINT, "subset", "template"], suffixes=("_pro", "_anti"), validate="1:1")
    if not len(pairs) == len(pro) == len(anti) > 0:
        raise UserError(
            f"net bias needs pro and anti exact matches in pairs, found {len(pro)} and {len(anti)} rows of winobias, "
            f"{len(pairs)} of them in pairs; select rows of published_results() without regard to condition"
        )
    pairs["squared_error"] = pairs["stderr_pro"] ** 2 + pairs["stderr_anti"] ** 2
    checkpoints = pairs.groupby([*_CHECKPOINT, "step_equivalent_pro"], sort=False, as_index=False)
    means = checkpoints[["value_pro", "value_anti", "squared_error"]].mean()
    table = means.rename(columns={"step_equivalent_pro": "step_equivalent", "value_pro": "pro", "value_anti": "anti"})
    return table.drop(columns="squared_error").assign(
        net_bias=table["pro"] - table["anti"],
        stderr=np.sqrt(table["squared_error"]),
        accuracy=(table["pro"] + table["anti"]) / 2,
    )


def published_series(benchmark: str, metric: str) -> pd.DataFrame:
    """The stored values of what the kit calls `metric` of `benchmark`, one row for each checkpoint.

    Known are compat_net_bias of winobias_generation, which is `net_bias`, and gender_pct_stereotype of
    crows_pairs_revised; of others there is no row.

    Columns: family, model, variant, step, step_equivalent, value, and clean as in `published_results`.
    """
    results = _results()
    columns = [*_CHECKPOINT, "step_equivalent", "value", "clean"]
    if (benchmark, metric) == ("winobias_generation", "compat_net_bias"):
        series = net_bias(results).assign(value=lambda table: table["net_bias"])
        clean = results[results["benchmark"] == "winobias"].groupby(_CHECKPOINT, as_index=False)["clean"].all()
        return series.merge(clean, on=_CHECKPOINT, validate="1:1")[columns]
    asked = (benchmark, metric) == ("crows_pairs_revised", "gender_pct_stereotype")
    of_gender = (results["benchmark"] == "crows_pairs") & (results["subset"] == "gender")
    return results.loc[asked & of_gender & (results["metric"] == "pct_stereotype"), columns].reset_index(drop=True)


@cache
def _results() -> pd.DataFrame:
    stored = pd.read_csv(_FILE, dtype={"crows_pairs_code": "str"})
    halved = (stored["family"] == "v0") & stored["model"].isin(_LARGE_BATCHES)
    stored["step_equivalent"] = stored["step"] * np.where(halved, 2, 1)
    stored["clean"] = stored["crows_pairs_code"] != _CORRUPTING_CODE
    evaluated = stored[stored["crows_pairs_code"].notna()]
    parts = [*_crows_pairs(evaluated), *_lambada(evaluated), *_winobias(stored)]
    results = pd.concat(parts).sort_index(kind="stable").reset_index(drop=True)
    columns = ["benchmark", "subset", "condition", "template", "metric", "value", "stderr", "n", "clean"]
    return results[[*_CHECKPOINT, "step_equivalent", *columns]]


def _crows_pairs(stored: pd.DataFrame) -> list[pd.DataFrame]:
    counts = {
        kind: tuple(stored[f"{kind}_{count}"].astype("int64") for count in ("more", "sum", "squares"))
        for kind in _PAIRS
    }
    more, total, squares = (sum(each) for each in zip(*counts.values(), strict=True))
    parts = []
    for subset, n in {"all": sum(_PAIRS.values()), **_PAIRS}.items():
        kind_more, kind_sum, kind_squares = counts.get(subset, (more, total, squares))
        share = kind_more / n
        spread = np.sqrt((n * kind_squares - kind_sum**2) / (n - 1)) / n / 64
        same = {"benchmark": "crows_pairs", "subset": subset, "n": n}
        parts += [
            _part(stored, metric="pct_stereotype", value=share, stderr=_share_error(share, n), **same),
            _part(stored, metric="likelihood_difference", value=kind_sum / 64 / n, stderr=spread, **same),
        ]
    return parts


def _lambada(stored: pd.DataFrame) -> list[pd.DataFrame]:
    stored = stored[stored["lambada_correct"].notna()]
    share = stored["lambada_correct"] / _LAMBADA_PASSAGES
    same = {"benchmark": "lambada_openai", "n": _LAMBADA_PASSAGES}
    error = _share_error(share, _LAMBADA_PASSAGES)
    perplexity, perplexity_error = stored["lambada_ppl"], stored["lambada_ppl_stderr"]
    return [
        _part(stored, metric="accuracy", value=share, stderr=error, **same),
        _part(stored, metric="perplexity", value=perplexity, stderr=perplexity_error, **same),
    ]


def _winobias(stored: pd.DataFrame) -> list[pd.DataFrame]:
    parts = []
    for subset in ("type1", "type2"):
        for condition in ("pro", "anti"):
            for column, template in _TEMPLATES.items():
                correct = stored[f"{subset}_{condition}_{column}"].dropna()
                share = correct / _WINOBIAS_SENTENCES
                part = _part(
                    stored.loc[correct.index],
                    benchmark="winobias",
                    subset=subset,
                    condition=condition,
                    template=template,
                    metric="exact_match",
                    value=share,
                    stderr=_share_error(share, _WINOBIAS_SENTENCES),
                    n=_WINOBIAS_SENTENCES,
                )
                parts.append(part.assign(clean=True))
    return parts


def _part(stored: pd.DataFrame, **columns: Any) -> pd.DataFrame:
    return stored[[*_CHECKPOINT, "step_equivalent", "clean"]].assign(**columns)


def _share_error(share: "pd.Series[float]", n: int) -> "pd.Series[float]":
    """Of a mean of n zeros and ones."""
    return (share * (1 - share) / (n - 1)) ** 0.5
