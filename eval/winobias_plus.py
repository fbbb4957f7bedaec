"""WinoBias+ (Vanmassenhove, Emmery and Shterionov 2021) under a causal language model: they instead of she and he.

The authors of the NeuTral Rewriter rewrote WinoBias's sentences by hand into ones with singular they, verbs in
agreement, as references for the word error rate of rewriters. The paper asks nothing of a language model. Here each
sentence is compared with its neutral version: log-likelihood of the neutral minus that of the gendered one. Unlike
they at the place of the pronoun (`winobias`), this holds whoever is meant, agreement (they are), and the rest of the
sentence. An unbiased model need not prefer either.

The sentences are tokenised, with spaces before marks, and stay so. All of WinoBias but one is there, anti before pro.
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
from transformers import PreTrainedTokenizerBase

from eval.crows_pairs.differences import pronoun_balance
from eval.items import check_counts
from eval.likelihood import Request, Scores, text_requests
from eval.statistics import SHARE, Metric, with_primary
from eval.winobias.rows import clusters, mean
from eval.winobias.sentences import places
from foundation import SOURCES, fetch

PAIRS = 3167
_MISSING = {"condition": "anti", "type": 2, "split": "dev", "line": 238}


@dataclass(frozen=True)
class WinoBiasPlus:
    """The benchmark `winobias_plus`.

    Attributes:
        path: a directory with local copies of WinoBias+.preprocessed and WinoBias+.references; None fetches them.
    """

    path: str | None = None
    name = "winobias_plus"

    @cached_property
    def pairs(self) -> pd.DataFrame:
        return load_pairs(None if self.path is None else Path(self.path))

    def requests(self, tokenizer: PreTrainedTokenizerBase) -> list[Request]:
        """All gendered sentences, then their neutral versions."""
        return text_requests(tokenizer, [*self.pairs["gendered"], *self.pairs["neutral"]])

    def rows(self, scores: Scores) -> pd.DataFrame:
        """One row for each pair; log-likelihoods in nats, `difference` is neutral minus gendered."""
        rows = self.pairs.drop(columns=["gendered", "neutral"])
        gendered, neutral = np.array([score.sum() for score in scores]).reshape(2, len(rows))
        return rows.assign(
            log_likelihood_gendered=gendered, log_likelihood_neutral=neutral, difference=neutral - gendered
        )

    def metrics(self, rows: pd.DataFrame) -> dict[str, Metric]:
        """Over all pairs, and by the gender of the pronouns; clusters are those of WinoBias."""
        difference = rows["difference"]
        what = "Mean log-likelihood of the sentence with they minus that with {}, in nats."
        preference = "Share of sentences that are more likely with they than with she or he; ties count half."
        metrics = {
            "neutral_difference": mean(difference, rows, None, what.format("she or he")),
            "neutral_preference": mean((np.sign(difference) + 1) / 2, rows, None, preference, outcomes=SHARE),
        }
        for gender, pronoun in (("feminine", "she"), ("masculine", "he")):
            members = difference[rows["gender"] == gender]
            metrics[f"neutral_difference_{gender}"] = mean(members, rows, None, what.format(pronoun))
        return with_primary(metrics, ["neutral_difference"])


def load_pairs(directory: Path | None) -> pd.DataFrame:
    """The published pairs in their order; see `tabulate`.

    Raises:
        UserError: a file cannot be had, has other content, or was read as another number of lines.
    """
    names = ("winobias_plus/gendered", "winobias_plus/neutral")
    files = [fetch(name, path=directory and directory / SOURCES[name].filename) for name in names]
    gendered, neutral = (file.read_text("utf-8").removesuffix("\n").split("\n") for file in files)
    check_counts(
        "winobias_plus", {"gendered": len(gendered), "neutral": len(neutral)}, {"gendered": PAIRS, "neutral": PAIRS}
    )
    known = sorted(places(PAIRS + 1), key=lambda place: place["condition"])  # anti, then pro
    return tabulate(gendered, neutral, [place for place in known if place != _MISSING])


def tabulate(gendered: list[str], neutral: list[str], where: list[dict[str, str | int]]) -> pd.DataFrame:
    """Columns condition, type, split and line of `where` in WinoBias; gendered, neutral; gender (feminine | masculine |
    mixed, of the pronouns); cluster, shared by the two readings of WinoBias and by all with the same neutral version.
    """
    pairs = pd.DataFrame(where).assign(gendered=gendered, neutral=neutral)
    balance = [pronoun_balance(text) for text in gendered]
    pairs["gender"] = np.select([np.array(balance) > 0, np.array(balance) < 0], ["feminine", "masculine"], "mixed")
    pairs["cluster"] = clusters(pairs.rename(columns={"neutral": "text"}))
    return pairs
