"""In what the two sentences of a pair differ: in words, for telling kinds of pairs, and in tokens, for their scores."""

import difflib
import re
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

PREFIX, MODIFIED, SHARED = range(3)
"""What a token is: before the first difference; in a difference; after the first difference and in both sentences."""

_FEMININE = {"he": {"she"}, "him": {"her"}, "his": {"her", "hers"}, "himself": {"herself"}}
_PRONOUN_PAIRS = {frozenset((he, she)) for he, feminine in _FEMININE.items() for she in feminine}
_SHE = set.union(*_FEMININE.values())

Labels = npt.NDArray[np.int64]


def pair_kind(more: str, less: str) -> str:
    """How gendered English pronouns tell two sentences apart.

    `pronouns_only`: the sentences are equal word for word but for them; `pronoun_balance`: they differ in other words
    too, and one has more feminine or fewer masculine ones; `other`: neither.
    """
    if differs_in_pronouns_only(more, less):
        return "pronouns_only"
    return "pronoun_balance" if pronoun_balance(more) != pronoun_balance(less) else "other"


def differs_in_pronouns_only(sentence: str, other: str) -> bool:
    """Whether the two sentences are equal word for word but for gendered pronouns, and differ in one at least."""
    words, others = _words(sentence), _words(other)
    differences = [pair for pair in zip(words, others, strict=False) if len(set(pair)) == 2]
    pronouns = {frozenset(word.lower() for word in pair) for pair in differences}
    return len(words) == len(others) and bool(differences) and pronouns <= _PRONOUN_PAIRS


def pronoun_balance(sentence: str) -> int:
    """The number of feminine pronouns minus that of masculine ones."""
    words = [word.lower() for word in _words(sentence)]
    return sum(word in _SHE for word in words) - sum(word in _FEMININE for word in words)


def _words(sentence: str) -> list[str]:
    """Words and marks, without spaces."""
    return re.findall(r"\w+|[^\w\s]", sentence)


def label_tokens(more: Sequence[int], less: Sequence[int]) -> tuple[Labels, Labels]:
    """PREFIX, MODIFIED or SHARED for each token of the two sentences.

    The tokens are aligned as in CrowS-Pairs (`get_span` in metric.py), by the equal blocks of `difflib`. What differs:
    the longest common beginning is taken first and is a label of its own, since to a causal model its probability is
    the same in both sentences; and no token counts as junk for being frequent.
    """
    same = [a == b for a, b in zip(more, less, strict=False)]
    prefix = same.index(False) if False in same else len(same)
    labels = np.full(len(more), MODIFIED), np.full(len(less), MODIFIED)
    for label in labels:
        label[:prefix] = PREFIX
    matcher = difflib.SequenceMatcher(None, more[prefix:], less[prefix:], autojunk=False)
    for block in matcher.get_matching_blocks():
        labels[0][prefix + block.a :][: block.size] = SHARED
        labels[1][prefix + block.b :][: block.size] = SHARED
    return labels
