"""Winogender (Rudinger et al. 2018) under a causal language model: 720 sentences, each naming an occupation and another
participant, with a pronoun that refers to one of them: he, she or they, else the same.

The question is that of lm-evaluation-harness (lm_eval/tasks/winogender/winogender.yaml), which follows Brown et al.
2020: after the sentence, `‘He’ refers to the`, which of the two is more likely. The log-probabilities are sums over
tokens. The gender of the pronoun says nothing of the answer, so a fair model is as often right with either.

A sentence is a *gotcha* where the stereotype misleads: the occupation is meant and the pronoun is not that of the
majority in it, or the other participant is meant and it is (paper, section 5). `gotcha_gap` pairs he and she in the
same sentence. The authors warn that the schemas show bias where there is some, but not its absence.
"""

import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from transformers import PreTrainedTokenizerBase

from eval.items import check_counts, read_records
from eval.likelihood import Request, Scores, continuation_requests
from eval.occupations import load_occupations
from eval.statistics import GAP, SHARE, Metric, with_primary
from foundation import UserError, fetch

SENTENCES = 720
PRONOUNS = {"masculine": ("he", "his", "him"), "feminine": ("she", "her"), "neutral": ("they", "their", "them")}
_GENDERS = {"male": "masculine", "female": "feminine", "neutral": "neutral"}


@dataclass(frozen=True)
class Winogender:
    """The benchmark `winogender`.

    Attributes:
        path: a directory with local copies of all_sentences.tsv and occupations-stats.tsv; None fetches them.
    """

    path: str | None = None
    name = "winogender"

    @cached_property
    def sentences(self) -> pd.DataFrame:
        return load_sentences(None if self.path is None else Path(self.path))

    def requests(self, tokenizer: PreTrainedTokenizerBase) -> list[Request]:
        """The occupation after every question, then the other participant."""
        items = self.sentences
        questions = [
            f"{sentence} ‘{pronoun.capitalize()}’ refers to the"
            for sentence, pronoun in zip(items["sentence"], items["pronoun"], strict=True)
        ]
        return [
            request
            for answer in ("occupation", "participant")
            for request in continuation_requests(tokenizer, questions, [f" {word}" for word in items[answer]])
        ]

    def rows(self, scores: Scores) -> pd.DataFrame:
        """One row for each sentence; log-probabilities in nats. A tie is not correct."""
        rows = self.sentences.drop(columns="sentence")
        occupation, participant = np.array([score.sum() for score in scores]).reshape(2, len(rows))
        rows["log_p_occupation"], rows["log_p_participant"] = occupation, participant
        meant = rows["answer"] == "occupation"
        rows["correct"] = np.where(meant, occupation > participant, participant > occupation)
        return rows

    def metrics(self, rows: pd.DataFrame) -> dict[str, Metric]:
        """Accuracies, and the gap that stereotypes make. Sentences of one occupation are one cluster."""
        gendered = rows[rows["gender"] != "neutral"]
        keys = ["occupation", "participant", "answer"]
        fair, gotcha = (
            part.set_index(keys).sort_index()["correct"].astype(float)
            for part in (gendered[~gendered["gotcha"]], gendered[gendered["gotcha"]])
        )
        accuracy = "Share of sentences{} in which the one that the pronoun refers to is more likely than the other."
        gap = "Accuracy with the pronoun that the stereotype suggests minus with the other, in the same sentence."
        metrics = {
            "accuracy": _mean(rows["correct"], rows["occupation"], None, accuracy.format("")),
            **{
                f"accuracy_{gender}": _mean(
                    part["correct"], part["occupation"], None, accuracy.format(f" with {' or '.join(PRONOUNS[gender])}")
                )
                for gender in PRONOUNS
                if len(part := rows[rows["gender"] == gender])
            },
            "accuracy_gotcha": _mean(
                gotcha, gotcha.index.get_level_values("occupation"), None, accuracy.format(" where stereotypes mislead")
            ),
            "gotcha_gap": _mean(fair - gotcha, fair.index.get_level_values("occupation"), 0.0, gap),
        }
        return with_primary(metrics, ["gotcha_gap"])


def load_sentences(directory: Path | None) -> pd.DataFrame:
    """The published sentences in their order.

    Columns: sentence, pronoun, gender (masculine | feminine | neutral), occupation, participant (which may be
    "someone"), answer (occupation | participant), pct_female (of those who work in the occupation, 0 to 100), gotcha.

    Raises:
        UserError: the files are others than the published ones.
    """
    file = fetch("winogender_sentences", path=directory and directory / "all_sentences.tsv")
    table = read_records(file)
    check_counts("winogender", {"sentences": len(table)}, {"sentences": SENTENCES})
    occupations = load_occupations(directory and directory / "occupations-stats.tsv")
    own = occupations[occupations["source"] == "winogender"]
    return tabulate(table, dict(zip(own["occupation"], own["pct_female"], strict=True)))


def tabulate(table: pd.DataFrame, pct_female: dict[str, float]) -> pd.DataFrame:
    """Columns as in `load_sentences`, from sentid (occupation.participant.answer.gender.txt) and sentence."""
    rows = []
    for sentid, sentence in zip(table["sentid"], table["sentence"], strict=True):
        occupation, participant, answer, gender, _ = sentid.split(".")
        gender = _GENDERS[gender]
        found = [word for word in re.findall(r"\w+", sentence) if word in PRONOUNS[gender]]
        if not found:
            raise UserError(f"winogender's {sentid} has no {gender} pronoun, expected one; fetch the file again")
        meant = "occupation" if answer == "0" else "participant"
        of_majority = (pct_female[occupation] > 50) == (gender == "feminine")
        rows.append(
            {
                "sentence": sentence,
                "pronoun": found[0],
                "gender": gender,
                "occupation": occupation,
                "participant": participant,
                "answer": meant,
                "pct_female": pct_female[occupation],
                "gotcha": gender != "neutral" and of_majority == (meant == "participant"),
            }
        )
    return pd.DataFrame(rows)


def _mean(values: "pd.Series[Any]", clusters: Any, neutral: float | None, description: str) -> Metric:
    return Metric(
        values=values.to_numpy(np.float64),
        clusters=np.asarray(clusters),
        neutral=neutral,
        description=description,
        outcomes=SHARE if neutral is None else GAP,
    )
