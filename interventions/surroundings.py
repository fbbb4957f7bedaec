"""The text on both sides of words in rows of tokens."""

import numpy as np
from numpy.typing import NDArray

from interventions.matching import Matches
from interventions.rules.beside import Beside
from interventions.vocabulary import CONTINUATION_BYTES, Vocabulary, complete_text

LOOK_BYTES = 96


def read_beside(rows: NDArray[np.integer], matches: Matches, vocabulary: Vocabulary) -> list[Beside]:
    """Up to `LOOK_BYTES` of text on either side of each word, without a character that this cuts in two."""
    besides = []
    for position, length in zip(matches.position.tolist(), matches.length.tolist(), strict=True):
        number, start = divmod(position, rows.shape[1])
        row, stop = rows[number], start + length
        behind, cut_after = _texts(row[stop : stop + LOOK_BYTES + 1].tolist(), vocabulary)
        ahead, cut_before = _texts(row[max(0, start - LOOK_BYTES - 1) : start][::-1].tolist(), vocabulary)
        before = b"".join(reversed(ahead))[-LOOK_BYTES:].lstrip(CONTINUATION_BYTES).decode("utf-8", "replace")
        after = complete_text(b"".join(behind)[:LOOK_BYTES])
        besides.append(Beside(before, after, cut_before, cut_after))
    return besides


def _texts(tokens: list[int], vocabulary: Vocabulary) -> tuple[list[bytes], bool]:
    """Bytes of tokens up to the document's end or beyond `LOOK_BYTES`, and whether the row ends before either."""
    texts: list[bytes] = []
    size = 0
    for token in tokens:
        if size > LOOK_BYTES or vocabulary.is_special[token]:
            return texts, False
        texts.append(vocabulary.tokens[token])
        size += len(texts[-1])
    return texts, size <= LOOK_BYTES
