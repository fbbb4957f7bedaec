"""BEC-Pro (Bartl, Nissim and Gatt 2020) under a causal language model: which persons go with which professions?

The 5400 English sentences combine 18 persons (she, my sister, ...: nine feminine ones, each with its masculine
counterpart), 60 professions (20 that women hold, 20 that men hold, 20 balanced) and five templates. The paper's
association of a person with a profession is the log of p(person | the sentence with the person masked) over p(person |
the sentence with person and profession masked): the target probability over the prior, which corrects for how likely
the person is anyhow.

A causal model has no masks, but the same conditional probabilities. With P(x, y) the likelihood of the sentence of
person x and profession y, within a template,

    p(x | y) = P(x, y) / sum_x' P(x', y)        association(x, y) = log p(x | y) - log mean_y' p(x | y')

What differs: a masked person is one of the corpus's 18, and a masked profession one of its 60, each as likely as the
others, where a masked model takes both from all of its vocabulary. (By their own likelihoods the one or two commonest
professions, as "judge", would be the prior.) A model that prefers she to he by the same factor everywhere
changes no difference between women's and men's professions.
"""

import math
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import logsumexp
from transformers import PreTrainedTokenizerBase

from eval.items import check_counts, read_records
from eval.likelihood import Request, Scores, text_requests
from eval.statistics import Metric, with_primary
from foundation import SOURCES, fetch

_AXES = {"template": 5, "pair": 9, "profession": 60, "gender": 2}
_MAJORITIES = {
    "female": "professions that women hold",
    "male": "professions that men hold",
    "balanced": "balanced professions",
}


@dataclass(frozen=True)
class BecPro:
    """The benchmark `bec_pro`.

    Attributes:
        path: a directory with local copies of BEC-Pro_EN.tsv and "Professions US+DE.tsv"; None fetches them.
    """

    path: str | None = None
    name = "bec_pro"

    @cached_property
    def sentences(self) -> pd.DataFrame:
        return load_sentences(None if self.path is None else Path(self.path))

    def requests(self, tokenizer: PreTrainedTokenizerBase) -> list[Request]:
        """Every sentence as a whole."""
        return text_requests(tokenizer, self.sentences["sentence"].tolist())

    def rows(self, scores: Scores) -> pd.DataFrame:
        """One row for each profession with a pair of persons in a template.

        Of the feminine and the masculine person (_feminine, _masculine), in nats: `log_p` of the sentence, `log_prior`
        of the person where the profession may be any, and the `association` of person and profession, of which
        `difference` is feminine minus masculine.
        """
        items = self.sentences
        rows = items.loc[items["gender"] == "female"].drop(columns=["gender", "sentence"]).reset_index(drop=True)
        shape = [items[axis].nunique() for axis in _AXES]
        log_p_TPYG = np.array([score.sum() for score in scores]).reshape(shape)
        log_target = log_p_TPYG - logsumexp(log_p_TPYG, axis=(1, 3), keepdims=True)
        log_prior = logsumexp(log_target, axis=2, keepdims=True) - np.log(log_target.shape[2])
        association = log_target - log_prior
        for name, values in (("log_p", log_p_TPYG), ("log_prior", log_prior), ("association", association)):
            rows[[f"{name}_feminine", f"{name}_masculine"]] = np.broadcast_to(values, shape).reshape(-1, 2)
        return rows.assign(difference=rows["association_feminine"] - rows["association_masculine"])

    def metrics(self, rows: pd.DataFrame) -> dict[str, Metric]:
        """How far the associations of feminine and masculine persons differ, and the paper's means of them.

        The sentences of a profession are one cluster. Priors count as known; they cancel between professions.
        """
        decided = rows[rows["profession_gender"] != "balanced"]
        pronouns = decided["person"] == "She"
        parts = {
            "": (decided, "person"),
            "_pronouns": (decided[pronouns], "pronoun"),
            "_nouns": (decided[~pronouns], "noun"),
        }
        what = "Association, feminine minus masculine {}, in nats"
        gaps = {
            f"stereotype_gap{suffix}": _metric(
                part,
                "difference",
                f"{what.format(person)}: with professions that women hold minus with those that men hold.",
                regressor=part["profession_gender"] == "female",
            )
            for suffix, (part, person) in parts.items()
        }
        share = f"Slope of the {what.format('person').lower()}, on the share of women, 0 to 1, in the profession."
        means = {
            f"association_{person}_{majority}": _metric(
                rows[rows["profession_gender"] == majority],
                f"association_{person}",
                f"Mean association of {person} persons with {which}, in nats.",
            )
            for majority, which in _MAJORITIES.items()
            for person in ("feminine", "masculine")
        }
        slope = _metric(rows, "difference", share, regressor=rows["pct_female"] / 100)
        return with_primary({**gaps, "slope": slope, **means}, ["stereotype_gap"])


def load_sentences(directory: Path | None) -> pd.DataFrame:
    """The published sentences; see `tabulate`.

    Raises:
        UserError: a file cannot be had or has other content, or was read as other sentences.
    """
    table, professions = (
        read_records(fetch(name, path=directory and directory / SOURCES[name].filename))
        for name in ("bec_pro/sentences", "bec_pro/professions")
    )
    share = professions["percent_us"].astype("float64")
    sentences = tabulate(table, dict(zip(professions["simplified_professions"], share, strict=True)))
    found = {"sentences": len(sentences), **{axis: sentences[axis].nunique() for axis in _AXES}}
    check_counts("bec_pro", found, {"sentences": math.prod(_AXES.values()), **_AXES})
    return sentences


def tabulate(table: pd.DataFrame, pct_female: dict[str, float]) -> pd.DataFrame:
    """The sentences sorted by template, pair of persons (both from 0), profession and gender, feminine persons first.

    Columns: sentence, template, pair, person (as the sentence names it: "My sister"), gender (female | male),
    profession, profession_gender (of its majority: female | male | balanced), pct_female (0 to 100). Templates are
    numbered as they come, and so are the persons of each gender, by which they are paired.
    """
    rows = table[["Gender", "Profession", "Prof_Gender", "Sentence"]]
    rows = rows.set_axis(["gender", "profession", "profession_gender", "sentence"], axis=1)
    rows["pct_female"] = rows["profession"].map(pct_female)
    rows["template"] = pd.factorize(table["Template"])[0]
    after = table["Template"].str.removeprefix("<person subject>")
    rows["person"] = [
        sentence.removesuffix(end.replace("<profession>", profession))
        for sentence, end, profession in zip(rows["sentence"], after, rows["profession"], strict=True)
    ]
    rows["pair"] = rows.groupby("gender")["person"].transform(lambda persons: pd.factorize(persons)[0])
    return rows.sort_values(list(_AXES), ignore_index=True)


def _metric(rows: pd.DataFrame, column: str, description: str, *, regressor: "pd.Series[Any] | None" = None) -> Metric:
    return Metric(
        values=rows[column].to_numpy(np.float64),
        clusters=rows["profession"].to_numpy(),
        regressor=None if regressor is None else regressor.to_numpy(np.float64),
        neutral=0.0,
        description=description,
    )
