"""Rules on the text beside words, compiled with numba. They answer wherever ASCII decides, and say `ASK` elsewhere:
then the same rule in Python has the last word.

Legend: V tokens in the vocabulary, N phrases, K words found in rows of W tokens, as (S * W,) `tokens`.
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from interventions.compiled import njit

NO, YES, UNSETTLED, ASK = 0, 1, 2, 3
TITLE, ACRONYM = 4, 5
SHOUT_CHARACTERS = 32
FREE, CUT, COMPOUND, WORD, UNCLEAR = 0, 1, 2, 3, 4  # as `interventions.vocabulary.Joint`
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
    """Fill the end of `window` with the text before a column. Its length, and whether the document begins with it."""
    size = 0
    for at in range(column - 1, -1, -1):
        token = row[at]
        if known.ends_document[token]:
            return size, True
        for byte in range(known.start[token + 1] - 1, known.start[token] - 1, -1):
            if size == len(window):
                return size, False
            size += 1
            window[len(window) - size] = known.text[byte]
    return size, False


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
def _joint(near, far, size, ended):
    """`vocabulary.joint` of a text of `size` bytes of which `near` is next to the word and `far` behind it."""
    if size == 0:
        return FREE if ended else CUT
    if near >= 128:
        return UNCLEAR
    if near != 45:
        return WORD if _is_word(near) else FREE
    if size == 1:
        return FREE if ended else CUT
    if far >= 128:
        return UNCLEAR
    return COMPOUND if _is_word(far) else FREE


@njit(cache=True, nogil=True)
def look_around(tokens, width, position, length, spelling, bare, known, joint):
    """Replace each UNCLEAR in `joint` (K,) by what the text on both sides of the word tells; it stays for Python."""
    window = np.empty(4, np.uint8)
    for k in range(len(position)):
        if joint[k] != UNCLEAR:
            continue
        start = position[k] % width
        row = tokens[position[k] - start : position[k] - start + width]
        size, ended = read_ahead(row, start + length[k], known, window)
        joint[k] = _joint(window[0], window[1], size, ended)
        if bare[spelling[k]]:
            size, ended = read_behind(row, start, known, window)
            joint[k] = max(joint[k], _joint(window[3], window[2], size, ended))


@njit(cache=True, nogil=True)
def _open_to(text, size, at):
    """Whether no letter stands at a place of the text: YES, NO, or ASK."""
    if at < 0 or at >= size:
        return YES
    if text[at] >= 128:
        return ASK
    return NO if _is_word(text[at]) else YES


@njit(cache=True, nogil=True)
def _other_ahead(text, size, connectors, others, first, last):
    """Whether the text opens with a connector and one of others[first:last]."""
    for index in range(len(connectors.length)):
        at = connectors.length[index]
        if not _stands_here(text, size, 0, connectors.text[index], at):
            continue
        for other in range(first, last):
            if _stands_here(text, size, at, others.text[other], others.length[other]):
                opened = _open_to(text, size, at + others.length[other])
                if opened != NO:
                    return opened
    return NO


@njit(cache=True, nogil=True)
def _other_behind(window, size, connectors, others, first, last):
    """Whether the text at the end of `window` closes with one of others[first:last] and a connector."""
    end, low = len(window), len(window) - size
    for index in range(len(connectors.length)):
        at = end - connectors.length[index]
        if at < low or not _stands_here(window, end, at, connectors.text[index], connectors.length[index]):
            continue
        for other in range(first, last):
            begin = at - others.length[other]
            if begin >= low and _stands_here(window, end, begin, others.text[other], others.length[other]):
                opened = YES if begin == low else _open_to(window, end, begin - 1)
                if opened != NO:
                    return opened
    return NO


@njit(cache=True, nogil=True)
def _opens(text, size, table):
    """Whether one of the phrases opens the text, no letter behind it."""
    for index in range(len(table.length)):
        if _stands_here(text, size, 0, table.text[index], table.length[index]):
            opened = _open_to(text, size, table.length[index])
            if opened != NO:
                return opened
    return NO


@njit(cache=True, nogil=True)
def _closes(window, size, table):
    """Whether one of the phrases closes the text at the end of `window`, no letter before it."""
    end, low = len(window), len(window) - size
    for index in range(len(table.length)):
        begin = end - table.length[index]
        if begin >= low and _stands_here(window, end, begin, table.text[index], table.length[index]):
            opened = YES if begin == low else _open_to(window, end, begin - 1)
            if opened != NO:
                return opened
    return NO


@njit(cache=True, nogil=True)
def _is_letter(byte):
    return 65 <= byte <= 90 or 97 <= byte <= 122


@njit(cache=True, nogil=True)
def _shouted_ahead(text, size):
    """Whether the first word of the text has two or more letters, all of them capitals."""
    at = 0
    while at < size and text[at] < 128 and not _is_letter(text[at]):
        at += 1
    begin = at
    while at < size and 65 <= text[at] <= 90:
        at += 1
    if at < size and text[at] >= 128:
        return ASK
    ends = at == size or not _is_letter(text[at])
    return YES if ends and at - begin > 1 else NO


@njit(cache=True, nogil=True)
def _shouted_behind(window, size):
    """The same of the last word of the text at the end of `window`."""
    low, at = len(window) - size, len(window) - 1
    while at >= low and window[at] < 128 and not _is_letter(window[at]):
        at -= 1
    end = at
    while at >= low and 65 <= window[at] <= 90:
        at -= 1
    if at >= low and window[at] >= 128:
        return ASK
    begins = at < low or not _is_letter(window[at])
    return YES if begins and end - at > 1 else NO


@njit(cache=True, nogil=True)
def judge(
    tokens, width, position, length, spelling, noticed, gender, is_he, known,
    ahead_of, behind_of, others, cut_he, titles, found,
):  # fmt: skip
    """What the text beside noticed words makes of them, by the bits of `kernels.examine` that are left in `noticed`.

    Args:
        gender: (P,) of each spelling, 0 or 1: which half of `others` names the other one.
        is_he: (P,) whether it is he.
        ahead_of, behind_of, others, cut_he, titles: phrases; `cut_he` are "s/" and the like, `titles` stand behind a
            possessive.
        found: (K,) filled: 0 nothing, 1 both genders named, `TITLE`, `ACRONYM`, `ASK` where Python must tell.
    """
    window = np.empty(WINDOW_BYTES, np.uint8)
    half = len(others.length) // 2
    for k in range(len(position)):
        found[k] = NO
        bits = noticed[k]
        if bits == 0:
            continue
        start = position[k] % width
        row = tokens[position[k] - start : position[k] - start + width]
        first = gender[spelling[k]] * half
        verdict = NO
        if bits & 8:
            size, _ = read_behind(row, start, known, window)
            verdict = _other_behind(window, size, behind_of, others, first, first + half)
            if verdict == NO and is_he[spelling[k]]:
                verdict = _closes(window, size, cut_he)
        if verdict == NO and bits & 3:
            size, _ = read_ahead(row, start + length[k], known, window)
            if bits & 1:
                verdict = _other_ahead(window, size, ahead_of, others, first, first + half)
            if verdict == NO and bits & 2:
                verdict = _opens(window, size, titles)
                if verdict == YES:
                    verdict = TITLE
        if verdict == NO and bits & 4:
            size, _ = read_behind(row, start, known, window)
            verdict = _shouted_behind(window, min(size, SHOUT_CHARACTERS))
            if verdict == NO:
                size, _ = read_ahead(row, start + length[k], known, window)
                verdict = _shouted_ahead(window, min(size, SHOUT_CHARACTERS))
            found[k] = ASK if verdict == ASK else ACRONYM if verdict == NO else NO
            continue
        found[k] = verdict
