"""The words around a place in rows of tokens, as numbers that do not depend on how the vocabulary cuts them.

A word is a run of tokens of which one ends, and the next begins, with a letter or digit. It is known by a hash of what
it spells in lower case, by its ending, its kind, its group, and its company: which closed-class words tend to stand
before and behind it in a sample of the corpus.

Legend: S rows, W tokens in a row, V tokens in the vocabulary, K places, G buckets of words.
"""

import numpy as np
from numpy.typing import NDArray

from interventions.her.classes import COMPANY_BEFORE, COMPANY_BEHIND, ENDINGS, GROUPS, OBJECT_BETWEEN, VERBS
from interventions.her.features import COMPANY_BITS, FIRST_GROUP, bucket
from interventions.her.words import (
    BLANK,
    BULLET,
    CLOSES,
    ENDS,
    LINE,
    OPENS,
    PREFIX,
    QUOTE,
    SPACED,
    STOP,
    Words,
)
from interventions.vocabulary import Vocabulary

_ROWS_AT_ONCE = 64
LEAST_SEEN = 5  # times that a word must occur for its company to count

EMPHASIS = "*_"
QUOTES = "'\"`"
STOPS = ".?!;:)]}" + QUOTES  # behind these nothing tells; an opening quotation mark is none of them
LINE_PREFIXES = ">#/"  # of quoted mail and comments
_SAME = str.maketrans("‘’‚“”„–—", "'''\"\"\"--")

_GROUPS = VERBS | GROUPS
_NUMBER_OF_GROUP = {group: number for number, group in enumerate(_GROUPS, start=1)}

_PRIME = np.uint32(0x01000193)

_PARTS = [("hash", "u4"), ("power", "u4"), ("ending", "u4", 2), ("kind", "u4", 2), ("flags", "u2"), ("form", "u1")]

TokenParts = NDArray[np.void]


def token_parts(vocabulary: Vocabulary) -> TokenParts:
    """(V,) what each token adds to a word, side by side in memory.

    Its fields:
        hash, power: hash of the token's text; that of two is a.hash * b.power + b.hash.
        ending: (2,) its last three letters; as a whole word, and as the end of a longer one.
        kind: (2,) its ending, if of `ENDINGS`, or its first sign; likewise.
        flags: begins, ends with a letter or digit; begins with a blank; is blank, with a line end; ends a text, as a
            document's end or an empty line does; is a mark of quoted lines; a quotation mark; behind which nothing
            tells; the mark of a list, where a line begins with it. Marks of emphasis are blank.
        form: 1 where the first letter is a capital.
    """
    texts = [token.decode("utf-8", "replace").translate(_SAME) for token in vocabulary.tokens]
    words = [_word(text) for text in texts]
    parts = np.zeros(vocabulary.size, np.dtype(_PARTS, align=True))
    parts["hash"] = [text_hash(word) for word in words]
    parts["power"] = [pow(int(_PRIME), len(word.encode()), 1 << 32) for word in words]
    for column, whole in enumerate((True, False)):
        parts["ending"][:, column] = [text_hash(_ending(word, whole)) for word in words]
        parts["kind"][:, column] = [text_hash(_kind(word, whole)) for word in words]
    parts["flags"] = np.where(vocabulary.ends_document, ENDS, [_flags(text) for text in texts])
    parts["form"] = [text.strip()[:1].isupper() for text in texts]
    return parts


def text_hash(text: str) -> int:
    """The hash that a word of these letters has."""
    value = 0
    for byte in text.encode():
        value = (value * int(_PRIME) + byte + 1) % (1 << 32)
    return value


def _word(text: str) -> str:
    """What a token adds to a word: in lower case; of a run of marks the first."""
    word = text.strip().strip(EMPHASIS).lower()
    return word if word[:1].isalnum() or _is_contraction(word) else word[:1]


def _is_contraction(word: str) -> bool:
    return word[:1] == "'" and word[1:].isalpha()


def _flags(text: str) -> int:
    flags = SPACED * text[:1].isspace()
    mark = text.strip()
    if not mark.strip(EMPHASIS):
        lines = text.count("\n")
        return flags | (ENDS if lines > 1 else BLANK | LINE * lines | BULLET * (mark == "*"))
    flags |= OPENS * text[0].isalnum() | CLOSES * text[-1].isalnum()
    if _is_contraction(mark):
        return flags
    is_prefix = mark[0] in LINE_PREFIXES and not mark.strip(mark[0])
    return flags | PREFIX * is_prefix | QUOTE * (mark[0] in QUOTES) | STOP * (mark[0] in STOPS)


def _kind(word: str, whole: bool) -> str:
    if not word.isalpha():
        return "0" if word[:1].isdigit() else word
    return next((f"~{end}" for end in ENDINGS if word.endswith(end) and (len(word) > 3 or not whole)), "~")


def _ending(word: str, whole: bool) -> str:
    if not word.isalpha():
        return "0" if word[:1].isdigit() else word
    return word if whole and len(word) < 5 else f"~{word[-3:]}"


def object_relations() -> NDArray[np.uint32]:
    """(N, 2) the groups of `OBJECT_BETWEEN`, as features have them."""
    numbers = [[_NUMBER_OF_GROUP[group] for group in pair] for pair in OBJECT_BETWEEN]
    return (np.array(numbers) + FIRST_GROUP).astype(np.uint32)


def company_of_words(rows: NDArray[np.integer], parts: TokenParts) -> NDArray[np.uint8]:
    """(6, G) which groups of `COMPANY_BEFORE` stand before a word more than before others, the most typical and the two
    most typical ones; then the same of `COMPANY_BEHIND`; 0 where it occurs too seldom in the (S, W) sample. Then the
    number of its own group among `VERBS` and `GROUPS`, 0 where there is none, and the low byte of the hash of that
    group's word, which another word in the same bucket will hardly have.
    """
    sides = (COMPANY_BEFORE, COMPANY_BEHIND)
    groups = np.zeros((2, 1 << COMPANY_BITS), np.int64)
    for side, lists in enumerate(sides):
        for number, words in enumerate(lists, start=1):
            groups[side, bucket(_hashes(words))] = number
    classes = []
    for count in _count_company(rows, parts, groups):
        total, share = count.sum(1, keepdims=True), count.sum(0) / max(1, count.sum())
        typical = (count + 3 * share) / ((total + 3) * np.maximum(share, 1e-12))
        order = np.argsort(-typical[:, 1:], axis=1, kind="stable") + 1
        known = total[:, 0] >= LEAST_SEEN
        classes += [known * order[:, 0], known * (16 * order[:, 0] + order[:, 1])]
    own = np.zeros((2, 1 << COMPANY_BITS), np.uint8)
    for group, words in _GROUPS.items():
        hashes = _hashes(words)
        places = bucket(hashes)
        own[0, places], own[1, places] = _NUMBER_OF_GROUP[group], hashes & 255
    return np.array([*classes, *own], np.uint8)


def _hashes(words: str) -> NDArray[np.uint32]:
    return np.array([text_hash(word) for word in words.split()], np.uint32)


def _count_company(rows: NDArray[np.integer], parts: TokenParts, groups: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """(G, groups) how often a word of each group of `groups` (2, G) stands before a word; the same behind it."""
    counts = [np.zeros((1 << COMPANY_BITS, 1 + int(each.max())), np.int64) for each in groups]
    for begin in range(0, len(rows), _ROWS_AT_ONCE):
        some = rows[begin : begin + _ROWS_AT_ONCE]
        words = Words(some.reshape(-1), some.shape[1], parts)
        starts, follows = _successive_words(words)
        word = bucket(words.word_from(starts, 1, longest=words.width)[0])
        last, following = word[:-1][follows], word[1:][follows]
        for count, one, other in zip(counts, (following, last), (groups[0, last], groups[1, following]), strict=True):
            count += np.bincount(one * count.shape[1] + other, minlength=count.size).reshape(count.shape)
    return counts


def _successive_words(words: Words) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """(N,) where words begin, and (N - 1,) whether the next one is of the same text, by `Words.step_over_blanks`."""
    everywhere = np.arange(len(words.tokens))
    flags = words.flags(everywhere)
    is_line, is_word = flags & LINE != 0, flags & ENDS == 0
    is_word &= ~words.is_blank(everywhere)
    starts = np.flatnonzero(is_word & ~np.concatenate([[False], words.joined(everywhere[:-1])]))
    last_line = np.maximum.accumulate(np.where(is_line, everywhere, -1))
    last_word = np.maximum.accumulate(np.where(is_word, everywhere, -1))
    ends = (flags & ENDS != 0) | (flags & BULLET != 0) & ~is_line & (last_line > last_word)
    ends_before, lines_before = np.cumsum(ends), np.cumsum(is_line)
    same_row = np.diff(starts // words.width) == 0
    follows = same_row & (np.diff(ends_before[starts]) == 0) & (np.diff(lines_before[starts]) < 2)
    return starts, follows
