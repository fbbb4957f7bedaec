"""BLiMP's anaphor gender agreement (Warstadt et al. 2020): does the model know whose reflexive is himself or herself?

An intervention that makes every pronoun feminine costs this knowledge where the antecedent is a man. As
lm-evaluation-harness's `blimp_anaphor_gender_agreement`: of two sentences that differ in their reflexive the good one
should have the higher log-likelihood; a tie is not right.
"""

import re
from dataclasses import dataclass
from functools import cached_property

import pandas as pd
from transformers import PreTrainedTokenizerBase

from eval.clusters import joined_clusters
from eval.items import HUB, check_counts, load_records
from eval.likelihood import Request, Scores, text_requests
from eval.statistics import SHARE, Metric
from foundation import UserError

PAIRS = 1000
REFLEXIVES = ("himself", "herself", "itself", "themselves")


@dataclass(frozen=True)
class Blimp:
    """The benchmark `blimp`.

    Attributes:
        path: hf://datasets/OWNER/NAME, or a local anaphor_gender_agreement.jsonl.
    """

    path: str = f"{HUB}nyu-mll/blimp"
    name = "blimp"

    @cached_property
    def pairs(self) -> pd.DataFrame:
        return load_pairs(self.path)

    def requests(self, tokenizer: PreTrainedTokenizerBase) -> list[Request]:
        """All good sentences, then all bad ones."""
        return text_requests(tokenizer, [*self.pairs["sentence_good"], *self.pairs["sentence_bad"]])

    def rows(self, scores: Scores) -> pd.DataFrame:
        """One row for each pair: its cluster, log-likelihoods in nats, and the reflexive of the good sentence."""
        sums = [float(score.sum()) for score in scores]
        good, bad = sums[: len(self.pairs)], sums[len(self.pairs) :]
        return pd.DataFrame(
            {
                "example": range(len(self.pairs)),
                "cluster": joined_clusters(range(len(self.pairs)), self.pairs["sentence_good"].tolist()),
                "reflexive": self.pairs["reflexive"],
                "log_likelihood_good": good,
                "log_likelihood_bad": bad,
                "correct": [one > other for one, other in zip(good, bad, strict=True)],
            }
        )

    def metrics(self, rows: pd.DataFrame) -> dict[str, Metric]:
        """Accuracy over all pairs, and by the reflexive that is right."""
        parts = {"accuracy": rows} | {
            f"accuracy_{reflexive}": part
            for reflexive in REFLEXIVES
            if len(part := rows[rows["reflexive"] == reflexive])
        }
        return {
            name: Metric(
                values=part["correct"].to_numpy(float),
                clusters=part["cluster"].to_numpy(),
                neutral=None,
                description="Share of pairs whose grammatical sentence is more likely"
                + (f", where {name.removeprefix('accuracy_')} is right." if name != "accuracy" else "."),
                outcomes=SHARE,
            )
            for name, part in parts.items()
        }


def load_pairs(path: str) -> pd.DataFrame:
    """The pairs in their order; columns sentence_good, sentence_bad, reflexive (of the good sentence).

    Raises:
        UserError: a column is missing, a good sentence has no reflexive, or there are not 1000 pairs.
    """
    records = load_records(path, config="anaphor_gender_agreement", split="train")
    if missing := {"sentence_good", "sentence_bad"} - set(records.columns):
        raise UserError(
            f"{path} has the columns {', '.join(map(str, records.columns))}, but not {', '.join(sorted(missing))}; "
            f"name anaphor_gender_agreement.jsonl as it was published"
        )
    check_counts("blimp", {"pairs": len(records)}, {"pairs": PAIRS})
    pairs = records[["sentence_good", "sentence_bad"]].copy()
    found = [re.findall(r"\b(?:" + "|".join(REFLEXIVES) + r")\b", sentence) for sentence in pairs["sentence_good"]]
    if without := [number for number, words in enumerate(found) if not words]:
        raise UserError(
            f"{path} has no reflexive in pair {without[0]}, expected one of {', '.join(REFLEXIVES)}; name the file as "
            f"published"
        )
    pairs["reflexive"] = [words[-1] for words in found]
    return pairs
