"""Rules on the text beside words, compiled with numba. They answer wherever ASCII decides, and say `ASK` elsewhere:
then the same rule in Python has the last word.

Legend: V tokens in the vocabulary, N phrases, K words found in rows of W tokens, as (S * W,) `tokens`.
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

NO, YES, UNSETTLED, ASK = 0, 1, 2, 3
WINDOW_BYTES = 64


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


class Phrases(NamedTuple):
    """Phrases as rows of bytes: (N, longest), and their lengths (N,)."""

    text: NDArray[np.uint8]
    length: NDArray[np.int64]


def phrases(texts: Iterable[str]) -> Phrases:
    """A table of phrases."""
    encoded = [text.encode() for text in texts]
    table = np.zeros((len(encoded), max(map(len, encoded), default=1)), np.uint8)
    for index, text in enumerate(encoded):
        table[index, : len(text)] = np.frombuffer(text, np.uint8)
    return Phrases(table, np.array([len(text) for text in encoded], np.int64))


@njit(cache=True, nogil=True)
def read_ahead(row, column, known, window):
    """Fill `window` with the text from a column on. Its length, and whether the document ends with it."""
    size = 0
    for at in range(column, len(row)):
        token = row[at]
        if known.ends_document[token]:
            return size, True
        for byte in range(known.start[token], known.start[token + 1]):
            if size == len(window):
                return size, False
            window[size] = known.text[byte]
            size += 1
    return size, False


@njit(cache=True, nogil=True)
def read_behind(row, column, known, window):
    """Fill the end of `window` with the text before a column. Its length."""
    size = 0
    for at in range(column - 1, -1, -1):
        token = row[at]
        if known.ends_document[token]:
            return size
        for byte in range(known.start[token + 1] - 1, known.start[token] - 1, -1):
            if size == len(window):
                return size
            size += 1
            window[len(window) - size] = known.text[byte]
    return size


@njit(cache=True, nogil=True)
def _is_word(byte):
    """Whether an ASCII character is a letter, digit or underscore."""
    return 48 <= byte <= 57 or 65 <= byte <= 90 or 97 <= byte <= 122 or byte == 95


@njit(cache=True, nogil=True)
def _stands_here(text, size, at, phrase, length):
    """Whether a phrase stands in the first `size` bytes of `text` from `at` on."""
    same = at >= 0 and at + length <= size
    offset = 0
    while same and offset < length:
        same = text[at + offset] == phrase[offset]
        offset += 1
    return same


@njit(cache=True, nogil=True)
def independent(text, size, ended, words, marks):
    """`lexicon.stands_independently` of the first `size` bytes of `text`."""
    at = 0
    while at < size and (text[at] == 32 or 9 <= text[at] <= 13 or 28 <= text[at] <= 31):
        at += 1
    if at == size:
        return YES if ended else UNSETTLED
    first = text[at]
    if first >= 128:
        return ASK
    if first == 46:
        if at + 1 == size:
            return YES if ended else UNSETTLED
        return ASK if text[at + 1] >= 128 else NO if 48 <= text[at + 1] <= 57 else YES
    for mark in marks:
        if first == mark:
            return YES
    stop = at
    while stop < size and _is_word(text[stop]):
        stop += 1
    if stop < size and text[stop] >= 128:
        return ASK
    for index in range(len(words.length)):
        length = words.length[index]
        if stop == size and not ended:
            if stop - at > length:
                continue
        elif stop - at != length:
            continue
        same = True
        for offset in range(stop - at):
            letter = text[at + offset]
            if 65 <= letter <= 90:
                letter += 32
            same &= letter == words.text[index, offset]
        if same:
            if stop == size:
                return YES if ended else UNSETTLED
            return NO if text[stop] == 45 else YES
    return NO


@njit(cache=True, nogil=True)
def settle_independence(tokens, width, position, length, verdict, known, words, marks):
    """Replace each UNSETTLED in `verdict` (K,) by what the text behind the word tells; ASK where it must be asked."""
    window = np.empty(WINDOW_BYTES, np.uint8)
    for k in range(len(position)):
        if verdict[k] != UNSETTLED:
            continue
        start = position[k] % width
        row = tokens[position[k] - start : position[k] - start + width]
        size, ended = read_ahead(row, start + length[k], known, window)
        found = independent(window, size, ended, words, marks)
        verdict[k] = ASK if found == UNSETTLED and size == len(window) else found


@njit(cache=True, nogil=True)
def _ahead(text, size, table, first, last):
    """Whether one of the phrases [first, last) opens the text, no letter behind it."""
    for index in range(first, last):
        stop = table.length[index]
        if _stands_here(text, size, 0, table.text[index], stop):
            if stop == size or (text[stop] < 128 and not _is_word(text[stop])):
                return YES
            if text[stop] >= 128:
                return ASK
    return NO


@njit(cache=True, nogil=True)
def _behind(window, size, table, first, last):
    """Whether one of the phrases [first, last) closes the text at the end of `window`, no letter before it."""
    for index in range(first, last):
        at = len(window) - table.length[index]
        if table.length[index] <= size and _stands_here(
            window, len(window), at, table.text[index], table.length[index]
        ):
            if table.length[index] == size or (window[at - 1] < 128 and not _is_word(window[at - 1])):
                return YES
            if window[at - 1] >= 128:
                return ASK
    return NO


@njit(cache=True, nogil=True)
def judge(
    tokens, width, position, length, spelling, noticed, gender, is_he, known, after, before, cut_he, titles, found
):
    """What the text beside noticed words makes of them, by the bits of `kernels.examine` that are left in `noticed`.

    Args:
        gender: (P,) of each spelling, 0 or 1; of the two halves of `after` and `before`, its own is read.
        is_he: (P,) whether it is he.
        after, before: phrases behind and before a word that name the other gender; cut_he: "s/" and the like.
        titles: phrases behind a possessive.
        found: (K,) filled: 0 nothing, 1 both genders named, 2 a title, `ASK` where Python must tell, also of capitals.
    """
    window = np.empty(WINDOW_BYTES, np.uint8)
    for k in range(len(position)):
        found[k] = 0
        bits = noticed[k]
        if bits == 0:
            continue
        if bits & 4:
            found[k] = ASK
            continue
        start = position[k] % width
        row = tokens[position[k] - start : position[k] - start + width]
        verdict = NO
        if bits & 8:
            size = read_behind(row, start, known, window)
            half = len(before.length) // 2
            verdict = _behind(window, size, before, gender[spelling[k]] * half, (gender[spelling[k]] + 1) * half)
            if verdict == NO and is_he[spelling[k]]:
                verdict = _behind(window, size, cut_he, 0, len(cut_he.length))
        if verdict == NO and bits & 3:
            size, _ = read_ahead(row, start + length[k], known, window)
            if bits & 1:
                half = len(after.length) // 2
                verdict = _ahead(window, size, after, gender[spelling[k]] * half, (gender[spelling[k]] + 1) * half)
            if verdict == NO and bits & 2:
                verdict = _ahead(window, size, titles, 0, len(titles.length))
                if verdict == YES:
                    found[k] = 2
                    continue
        found[k] = verdict
