"""Words near the edge of a row, which may cut what would tell of them: those for which text has to be read.

Legend: V tokens in the vocabulary, N words.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from interventions.flags import COORDINATION, MOST_OF_A_WORD, TITLE
from interventions.rules import coordination, titles
from interventions.side import Side
from interventions.vocabulary import Vocabulary

_UNKNOWN = 2


class _PerToken:
    """What a rule says of the text of single tokens; each is asked for when it is first seen."""

    def __init__(self, rule: Callable[[str], bool], vocabulary: Vocabulary) -> None:
        self._rule = rule
        self._vocabulary = vocabulary
        self._answers = np.full(vocabulary.size, _UNKNOWN, np.uint8)

    def __call__(self, side: Side) -> NDArray[np.bool_]:
        """(N,) of the tokens beside words; True where the row ends."""
        tokens = side.token(0)
        for token in np.unique(tokens[self._answers[tokens] == _UNKNOWN]).tolist():
            text = self._vocabulary.tokens[token].decode("utf-8", "replace")
            self._answers[token] = "\ufffd" in text or self._rule(text)
        allowed: NDArray[np.bool_] = (self._answers[tokens] != 0) | (side.number == 0)
        return allowed


class RowEdge:
    """The rules over one vocabulary that depend on what a row cuts."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._coordination_behind = _PerToken(coordination.may_begin_behind, vocabulary)
        self._coordination_before = _PerToken(coordination.may_end_before, vocabulary)
        self._title_behind = _PerToken(titles.may_begin_behind, vocabulary)

    def notice(self, before: Side, behind: Side, possible: NDArray[np.uint32]) -> NDArray[np.uint32]:
        """(N,) COORDINATION and TITLE, if possible, where the edge is near and the tokens beside a word allow it."""
        noticed = np.zeros(len(possible), np.uint32)
        near = np.flatnonzero(np.minimum(before.number, behind.number) <= MOST_OF_A_WORD)
        before, behind = before.of(near), behind.of(near)
        coordinated = self._coordination_behind(behind) | self._coordination_before(before)
        noticed[near] = possible[near] & (COORDINATION * coordinated | TITLE * self._title_behind(behind))
        return noticed
