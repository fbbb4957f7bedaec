"""The text on both sides of words in rows of tokens."""

import numpy as np
from numpy.typing import NDArray

from interventions.matching import Matches
from interventions.rules.beside import Beside
from interventions.vocabulary import CONTINUATION_BYTES, Vocabulary, complete_text

LOOK_BYTES = 96
_TOKENS_AT_ONCE = 24  # mostly enough


def read_beside(rows: NDArray[np.integer], matches: Matches, vocabulary: Vocabulary) -> list[Beside]:
    """Up to `LOOK_BYTES` of text on either side of each word, without a character that this cuts in two."""
    besides = []
    for position, length in zip(matches.position.tolist(), matches.length.tolist(), strict=True):
        number, start = divmod(position, rows.shape[1])
        row, stop = rows[number], start + length
        behind, cut_after = _texts(row[stop:], vocabulary)
        ahead, cut_before = _texts(row[:start][::-1], vocabulary)
        before = b"".join(reversed(ahead))[-LOOK_BYTES:].lstrip(CONTINUATION_BYTES).decode("utf-8", "replace")
        after = complete_text(b"".join(behind)[:LOOK_BYTES])
        besides.append(Beside(before, after, cut_before, cut_after))
    return besides


def _texts(tokens: NDArray[np.integer], vocabulary: Vocabulary) -> tuple[list[bytes], bool]:
    """Bytes of tokens up to the document's end or beyond `LOOK_BYTES`, and whether the row ends before either."""
    text_of, is_special = vocabulary.tokens, vocabulary.is_special
    texts: list[bytes] = []
    size = 0
    for begin in range(0, len(tokens), _TOKENS_AT_ONCE):
        for token in tokens[begin : begin + _TOKENS_AT_ONCE].tolist():
            if size > LOOK_BYTES or is_special[token]:
                return texts, False
            texts.append(text_of[token])
            size += len(text_of[token])
    return texts, size <= LOOK_BYTES
