"""The text on both sides of words in rows of tokens."""

import numpy as np
from numpy.typing import NDArray

from interventions.matching import Matches
from interventions.rules.beside import Beside
from interventions.text_kernels import CUT_SHORT, texts_beside
from interventions.vocabulary import Vocabulary, complete_text

LOOK_BYTES = 96

_CONTINUATION_BYTES = bytes(range(0x80, 0xC0))


def read_beside(rows: NDArray[np.integer], matches: Matches, vocabulary: Vocabulary) -> list[Beside]:
    """Up to `LOOK_BYTES` of text on either side of each word, without a character that this cuts in two."""
    number = len(matches)
    ahead, behind = np.empty((2, number, LOOK_BYTES), np.uint8)
    sizes, ends = np.empty((2, number, 2), np.int64)
    texts_beside(
        *(rows.reshape(-1), rows.shape[1], matches.position, matches.length, vocabulary.flat),
        *(ahead, behind, sizes, ends),
    )
    ahead_of, behind_of = ahead.tobytes(), behind.tobytes()
    places = range(0, number * LOOK_BYTES, LOOK_BYTES)
    besides = []
    for place, (size_ahead, size_behind), (end_ahead, end_behind) in zip(
        places, sizes.tolist(), ends.tolist(), strict=True
    ):
        before = _text_before(behind_of[place : place + size_behind][::-1])
        after = complete_text(ahead_of[place : place + size_ahead])
        besides.append(Beside(before, after, end_behind == CUT_SHORT, end_ahead == CUT_SHORT))
    return besides


def _text_before(data: bytes) -> str:
    """`data` as text without the rest of a character at its beginning."""
    return data.lstrip(_CONTINUATION_BYTES).decode("utf-8", "replace")
