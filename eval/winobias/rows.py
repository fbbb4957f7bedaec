"""What the rows and metrics of all WinoBias evaluations have in common."""

from typing import Any

import numpy as np
import pandas as pd

from eval.clusters import joined_clusters
from eval.statistics import Metric
from eval.winobias.sentences import MALE_OCCUPATIONS, PRONOUNS


def clusters(items: pd.DataFrame) -> list[str]:
    """A label for each row, shared by the two readings of a pair of occupations in both conditions, and by all pairs of
    which a sentence is the same: three sentences of each condition stand both in dev and in test.
    """
    pairs = [
        f"type{kind}.{split}.{(line + 1) // 2}"
        for kind, split, line in zip(items["type"], items["split"], items["line"], strict=True)
    ]
    return joined_clusters(pairs, items["text"].tolist())


def stereotypes(occupations: "pd.Series[str]") -> list[str]:
    """male or female, for each occupation."""
    return ["male" if occupation in MALE_OCCUPATIONS else "female" for occupation in occupations]


def pronoun_genders(pronouns: "pd.Series[str]") -> list[str]:
    """masculine or feminine, for each pronoun."""
    masculine = {forms[0] for forms in PRONOUNS.values()}
    return ["masculine" if pronoun in masculine else "feminine" for pronoun in pronouns]


def mean(
    values: "pd.Series[Any]",
    rows: pd.DataFrame,
    neutral: float | None,
    description: str,
    *,
    outcomes: tuple[float, float] | None = None,
) -> Metric:
    """The mean of values that are indexed as `rows`, or as a part of it."""
    return Metric(
        values=values.to_numpy(np.float64),
        clusters=rows.loc[values.index, "cluster"].to_numpy(),
        neutral=neutral,
        description=description,
        outcomes=outcomes,
    )
