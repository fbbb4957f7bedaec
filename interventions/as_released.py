"""What the one pushed version of the original intervention code does, to show its effect rather than argue about it.

The branch `new-intervention` of gpt-neox (`megatron/training.py`) builds the swapped text of a row and then tokenizes
the unswapped one. So no pronoun changes. What changes in a row that holds a masculine pronoun between two spaces is
that its end-of-document tokens vanish, and that padding, which enters the loss, fills its tail. Rows of the
deduplicated Pile hold no end-of-document tokens and stay as they are, but for what tokenizing again changes at their
edges.

Legend: S rows, W tokens in a row.
"""

import re
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerBase

from foundation import UserError
from interventions.dose import Dose
from interventions.intervention import identity_of
from interventions.ledger import SWAPPED, Ledger, skipped
from interventions.vocabulary import Vocabulary

Ids = TypeVar("Ids", bound=np.integer)

PADDING, END_OF_DOCUMENT = "<|padding|>", "<|endoftext|>"
MASCULINE_BETWEEN_SPACES = re.compile(r"(?<= )(?:he|him|his|He|Him|His)(?= )")
_NOT_DRAWN = skipped("not_drawn")


class AsReleased:
    """Rows with a masculine pronoun, tokenized again without their end-of-document tokens, and padded.

    In the ledger a word is an end-of-document token that vanished. `swapped` marks the padding at the end of its row,
    so that its loss is told apart; all tokens between the two are moved.

    Args:
        dose: drawn by row.

    Raises:
        UserError: the tokenizer has no end-of-document token, or the dose is drawn by another unit.
    """

    def __init__(self, name: str, *, tokenizer: PreTrainedTokenizerBase, vocabulary: Vocabulary, dose: Dose) -> None:
        if dose.fraction < 1 and dose.unit != "row":
            raise UserError(
                f"intervention={name} changes whole rows, but the unit is {dose.unit}; set intervention.unit=row"
            )
        known = tokenizer.get_vocab()
        if END_OF_DOCUMENT not in known:
            raise UserError(
                f"intervention={name} needs a tokenizer with the token {END_OF_DOCUMENT}, as Pythia's has; take "
                f"another arm"
            )
        self.name = name
        self._tokenizer = tokenizer
        self._vocabulary = vocabulary
        self._dose = dose
        self._end = known[END_OF_DOCUMENT]
        filler = PADDING if PADDING in known else END_OF_DOCUMENT  # the demo's tokenizer has no padding
        self._padding = known[filler]
        self._words = [(END_OF_DOCUMENT, filler)]
        self.facts: dict[str, Any] = {"padding": filler}
        self.identity = identity_of(
            name,
            vocabulary=vocabulary.fingerprint,
            tables={
                "pattern": MASCULINE_BETWEEN_SPACES.pattern,
                "padding": filler,
                "dose": dose.identity,
            },
        )

    def __call__(self, rows: NDArray[Ids], *, first_row: int) -> tuple[NDArray[Ids], Ledger]:
        self._vocabulary.check(rows)
        corpus_row = first_row + np.arange(len(rows), dtype=np.int64)
        changed, drawn = rows.copy(), self._dose.drawn_at(corpus_row * rows.shape[1], corpus_row)
        ends, padded = [np.zeros(0, np.int64)], np.zeros(rows.shape, np.bool_)
        for index, row in enumerate(rows):
            text = "".join(self._text(part) for part in np.split(row, np.flatnonzero(row == self._end)))
            if MASCULINE_BETWEEN_SPACES.search(text) is None:
                continue
            ends.append(np.flatnonzero(row == self._end) + index * rows.shape[1])
            if drawn[index]:
                ids = self._tokenizer.encode(text, add_special_tokens=False)[: rows.shape[1]]
                changed[index] = self._padding
                changed[index, : len(ids)] = ids
                padded[index, len(ids) :] = True
        position = np.concatenate(ends)
        return changed, Ledger(
            shape=rows.shape,
            marked=padded,
            words=self._words,
            label=np.zeros(len(position), np.int64),
            position=position,
            length=np.ones(len(position), np.int32),
            outcome=np.where(drawn[position // rows.shape[1]], np.uint8(SWAPPED), _NOT_DRAWN),
        )

    def _text(self, part: NDArray[np.integer]) -> str:
        """Text of a part of a row that an end-of-document token may open."""
        ids = part[part != self._end].tolist()
        return str(self._tokenizer.decode(ids, clean_up_tokenization_spaces=False))
