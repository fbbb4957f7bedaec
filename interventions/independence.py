"""his -> her or hers, in rows of tokens: mostly the next token tells, sometimes the text behind it."""

import numpy as np
from numpy.typing import NDArray

from interventions.lexicon import INDEPENDENT_BEFORE, SENTENCE_MARKS, stands_independently
from interventions.matching import Matches
from interventions.text_kernels import ASK, UNSETTLED, phrases, settle_independence
from interventions.vocabulary import Vocabulary, complete_text

_FEW_BYTES, _ALL_BYTES = 16, 1 << 30


class Independence:
    """The rule `stands_independently` over one vocabulary.

    Attributes:
        by_next_token: (V,) what the token behind a possessive tells by itself: 1 independent, 0 not, `UNSETTLED` more
            is needed.
    """

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._vocabulary = vocabulary
        self._words, self._marks = phrases(INDEPENDENT_BEFORE), np.frombuffer(SENTENCE_MARKS.encode(), np.uint8)
        verdicts = [
            stands_independently("" if special else complete_text(token), ended=bool(special))
            for token, special in zip(vocabulary.tokens, vocabulary.ends_document, strict=True)
        ]
        self.by_next_token = np.array([UNSETTLED if verdict is None else verdict for verdict in verdicts], np.uint8)

    def settle(self, rows: NDArray[np.integer], matches: Matches, verdict: NDArray[np.uint8]) -> None:
        """Replace every `UNSETTLED` in `verdict` (K,) by what the text tells; it stays where the row ends too early."""
        settle_independence(
            *(rows.reshape(-1), rows.shape[1], matches.position, matches.length, verdict),
            *(self._vocabulary.flat, self._words, self._marks),
        )
        for match in np.flatnonzero(verdict == ASK):
            row, column = divmod(int(matches.position[match] + matches.length[match]), rows.shape[1])
            verdict[match] = self._read(rows[row], column)

    def _read(self, row: NDArray[np.integer], column: int) -> int:
        for enough in (_FEW_BYTES, _ALL_BYTES):
            text, ended = self._vocabulary.text_after(row, column, enough=enough)
            known = stands_independently(text, ended=ended)
            if known is not None:
                return int(known)
        return UNSETTLED
