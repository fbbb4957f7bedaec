"""Loss on unmodified rows of the run's own corpus: what an intervention costs.

The rows are those of pre-training, as token ids, each read as the model reads them there: from its first token on, with
whatever documents stand in it. The loss of each label is in one of four groups: feminine and masculine pronouns, ends
of documents, and the rest. An arm that has unlearned a language's grammar shows it in the rest; one that was trained on
rows without document ends, as the branch of the published intervention makes them, at the ends.

A pronoun is a whole word that is one token; those that a vocabulary cuts into more tokens are in the rest.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pandas as pd
from transformers import PreTrainedTokenizerBase

from eval.likelihood import Request, Scores
from eval.statistics import Metric
from foundation import UserError

FEMININE = ("she", "her", "hers", "herself")
MASCULINE = ("he", "him", "his", "himself")
GROUPS = ("rest", "feminine", "masculine", "end_of_document")
_DESCRIPTIONS = {
    "rest": "all tokens but pronouns and ends of documents",
    "feminine": "feminine pronouns",
    "masculine": "masculine pronouns",
    "end_of_document": "ends of documents",
}


@dataclass(frozen=True, eq=False)
class HeldOut:
    """The benchmark `held_out`.

    Attributes:
        token_rows: (N, W) rows of the corpus; their tokenizer is the model's.
        where: which rows they are, and whether training had read them, for the descriptions.
    """

    token_rows: npt.NDArray[np.integer]
    where: str = "rows of the corpus"
    _groups: list[npt.NDArray[np.uint8]] = field(default_factory=list, init=False, repr=False)
    name = "held_out"

    def requests(self, tokenizer: PreTrainedTokenizerBase) -> list[Request]:
        """Each row's tokens after its first. Their groups are remembered, as `rows` sums by them.

        Raises:
            UserError: a row has tokens that the tokenizer does not know.
        """
        if (highest := int(self.token_rows.max())) >= len(tokenizer):
            raise UserError(
                f"held_out has a token {highest}, expected less than {len(tokenizer)}, the size of the tokenizer; give "
                f"it rows of the corpus that the model was trained on"
            )
        rows = [tuple(row) for row in self.token_rows.tolist()]
        self._groups[:] = [label_groups(row, tokenizer)[1:] for row in self.token_rows]
        return [Request(context=row[:1], continuation=row[1:]) for row in rows]

    def rows(self, scores: Scores) -> pd.DataFrame:
        """One row for each of the corpus's: of each group the number of labels, n_*, and their loss in nats, loss_*."""
        columns: dict[str, list[float]] = {"row": list(range(len(scores)))}
        for index, group in enumerate(GROUPS):
            inside = [groups == index for groups in self._groups]
            columns[f"n_{group}"] = [int(each.sum()) for each in inside]
            columns[f"loss_{group}"] = [float(-score[each].sum()) for score, each in zip(scores, inside, strict=True)]
        return pd.DataFrame(columns)

    def metrics(self, rows: pd.DataFrame) -> dict[str, Metric]:
        """Mean loss of a token, of each group that occurs and of all."""
        parts = {group: [group] for group in GROUPS if rows[f"n_{group}"].sum() > 0} | {"all": list(GROUPS)}
        return {
            "loss" if part == "all" else f"loss_{part}": _mean_loss(
                rows,
                groups,
                f"Mean loss in nats of {_DESCRIPTIONS.get(part, 'all tokens')} in {self.where}.",
            )
            for part, groups in parts.items()
        }


def label_groups(
    row: Sequence[int] | npt.NDArray[np.integer], tokenizer: PreTrainedTokenizerBase
) -> npt.NDArray[np.uint8]:
    """Index in `GROUPS` of each token of a row."""
    texts = tokenizer.batch_decode([[int(token)] for token in row], clean_up_tokenization_spaces=False)
    groups = np.zeros(len(row), np.uint8)
    for place, text in enumerate(texts):
        if int(row[place]) == tokenizer.eos_token_id:
            groups[place] = GROUPS.index("end_of_document")
            continue
        word = text.strip().lower()
        if word in FEMININE or word in MASCULINE:
            before, after = texts[place - 1] if place else "", texts[place + 1] if place + 1 < len(texts) else ""
            bare = text[0].isalpha()
            if not (re.match(r"\w", after) or (bare and re.search(r"\w$", before))):
                groups[place] = GROUPS.index("feminine" if word in FEMININE else "masculine")
    return groups


def _mean_loss(rows: pd.DataFrame, groups: Sequence[str], description: str) -> Metric:
    """The sum of losses over all rows by the number of their tokens, which differs from row to row."""
    losses, tokens = (
        rows[[f"{part}_{group}" for group in groups]].sum(axis=1).to_numpy(np.float64) for part in ("loss", "n")
    )
    return Metric(values=losses, weights=tokens, clusters=rows["row"].to_numpy(), neutral=None, description=description)
