"""The text beside words in rows of tokens, compiled with numba.

Legend: V tokens in the vocabulary, K words found in rows of W tokens, as (S * W,) `tokens`.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from interventions.compiled import njit

FREE, CUT, COMPOUND, WORD, UNCLEAR = 0, 1, 2, 3, 4  # as `interventions.vocabulary.Joint`
FULL, ENDED, CUT_SHORT = 0, 1, 2  # why a text goes no further: there is more; the document ends; the row ends
_RULED_LINE = 8  # as `interventions.vocabulary.RULED_LINE`
_HYPHEN, _UNDERSCORE = 45, 95


class Bytes(NamedTuple):
    """What tokens stand for.

    Attributes:
        text: all tokens' bytes, one behind the other.
        start: (V + 1,) where each begins.
        ends_document: (V,)
    """

    text: NDArray[np.uint8]
    start: NDArray[np.int64]
    ends_document: NDArray[np.bool_]


@njit(cache=True, nogil=True)
def read_ahead(row, column, known, window):
    """Fill `window` with the text from a column on. Its length, and why it goes no further."""
    size = 0
    for at in range(column, len(row)):
        token = row[at]
        if known.ends_document[token]:
            return size, ENDED
        for byte in range(known.start[token], known.start[token + 1]):
            if size == len(window):
                return size, FULL
            window[size] = known.text[byte]
            size += 1
    return size, CUT_SHORT


@njit(cache=True, nogil=True)
def read_behind(row, column, known, window):
    """Fill `window` with the bytes before a column, the nearest first. Their number, and why they go no further."""
    size = 0
    for at in range(column - 1, -1, -1):
        token = row[at]
        if known.ends_document[token]:
            return size, ENDED
        for byte in range(known.start[token + 1] - 1, known.start[token] - 1, -1):
            if size == len(window):
                return size, FULL
            window[size] = known.text[byte]
            size += 1
    return size, CUT_SHORT


@njit(cache=True, nogil=True)
def texts_beside(tokens, width, position, length, known, ahead, behind, sizes, ends):
    """Fill `ahead` and `behind` (K, N) with the bytes on both sides of each word, nearest first, and (K, 2) how many
    there are and why no more.
    """
    for k in range(len(position)):
        start = position[k] % width
        row = tokens[position[k] - start : position[k] - start + width]
        sizes[k, 0], ends[k, 0] = read_ahead(row, start + length[k], known, ahead[k])
        sizes[k, 1], ends[k, 1] = read_behind(row, start, known, behind[k])


@njit(cache=True, nogil=True)
def _is_word(byte):
    """Whether an ASCII character is a letter, digit or underscore."""
    return 48 <= byte <= 57 or 65 <= byte <= 90 or 97 <= byte <= 122 or byte == _UNDERSCORE


@njit(cache=True, nogil=True)
def _joint(text, size, end):
    """`vocabulary.joint` of the first `size` bytes of `text`; UNCLEAR where ASCII does not decide."""
    joiner = text[0] if size else 0
    at = 0
    while at < size and at < _RULED_LINE and text[at] == _UNDERSCORE:
        at += 1
    if at == _RULED_LINE:
        return FREE
    if at == 0 and joiner == _HYPHEN:
        at = 1
    if at == size:
        return FREE if end == ENDED else CUT
    if text[at] >= 128:
        return UNCLEAR
    if not _is_word(text[at]):
        return FREE
    return COMPOUND if joiner == _HYPHEN else WORD


@njit(cache=True, nogil=True)
def look_around(tokens, width, position, length, spelling, bare, known, joint):
    """Replace each UNCLEAR in `joint` (K,) by what the text on both sides of the word tells; it stays for Python."""
    window = np.empty(_RULED_LINE + 4, np.uint8)
    for k in range(len(position)):
        if joint[k] != UNCLEAR:
            continue
        start = position[k] % width
        row = tokens[position[k] - start : position[k] - start + width]
        size, end = read_ahead(row, start + length[k], known, window)
        joint[k] = _joint(window, size, end)
        if bare[spelling[k]]:
            size, end = read_behind(row, start, known, window)
            joint[k] = max(joint[k], _joint(window, size, end))
