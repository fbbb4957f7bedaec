"""The benchmark `winobias`: pronoun contrast and occupation choice on the sentences as they are written."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
from transformers import PreTrainedTokenizerBase

from eval.likelihood import Request, Scores
from eval.statistics import Metric, with_primary
from eval.winobias import choice, contrast
from eval.winobias.rows import clusters, pronoun_genders, stereotypes
from eval.winobias.sentences import load_sentences


@dataclass(frozen=True)
class WinoBias:
    """The benchmark `winobias`; `path` names a directory with local copies of its eight text files."""

    path: str | None = None
    name = "winobias"

    @cached_property
    def sentences(self) -> pd.DataFrame:
        return load_sentences(None if self.path is None else Path(self.path))

    def requests(self, tokenizer: PreTrainedTokenizerBase) -> list[Request]:
        """Those of the pronoun contrast, then those of the occupation choice."""
        return contrast.contrast_requests(tokenizer, self.sentences) + choice.choice_requests(tokenizer, self.sentences)

    def rows(self, scores: Scores) -> pd.DataFrame:
        """One row for each sentence; log-probabilities in nats, summed over tokens.

        `referent_gender` is that of the stereotype; `log_p_counterpart` is that of the pronoun of the other gender in
        the same case and place, `log_p_they` that of singular they, `rank_pronoun` the
        pronoun's rank, 1 for the likeliest. Ties count as not correct.
        """
        items = self.sentences
        rows = items[["type", "split", "line", "condition", "referent", "other"]].copy()
        rows["referent_gender"] = stereotypes(items["referent"])
        rows["pronoun"], rows["counterpart"] = items["pronoun"], contrast.counterparts(items)
        rows["pronoun_gender"] = pronoun_genders(items["pronoun"])
        rows["case"] = items["case"]
        rows["cluster"] = clusters(items)
        contrasts, choices = scores[: -2 * len(items)], scores[-2 * len(items) :]
        rows = rows.join(contrast.contrast_columns(contrasts, items))
        rows[choice.COLUMNS] = np.array([score.sum() for score in choices]).reshape(2, len(items)).T
        rows["correct"] = rows["log_p_referent"] > rows["log_p_other"]
        return rows

    def metrics(self, rows: pd.DataFrame) -> dict[str, Metric]:
        """Those of the pronoun contrast, then those of the occupation choice."""
        rows = rows.sort_values(["type", "split", "line"])
        pro, anti = (rows[rows["condition"] == condition].reset_index(drop=True) for condition in ("pro", "anti"))
        metrics = contrast.contrast_metrics(pro, anti) | choice.choice_metrics(pro, anti)
        return with_primary(metrics, ["pro_preference", "pronoun_contrast", "occupation_gap"])
