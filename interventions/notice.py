"""Which rules may hold for a word, by the tokens beside it alone.

Legend: N words. `possible` (N,) are the rules that may hold for the form of each, `others` (N,) the bits of the words
that it may be coordinated with; what is noticed are bits of `interventions.flags`.
"""

import numpy as np
from numpy.typing import NDArray

from interventions.flags import (
    AFTER_POINT,
    AFTER_QUOTE,
    AND,
    ASKS,
    CAPITALS,
    CODE,
    CONTINUES,
    COORDINATION,
    ENDS_IN_LETTER,
    FEMININE_TITLE,
    FIRST_OF_TITLE,
    FIRST_PIECE,
    FREE_OPENING,
    HIDDEN,
    JOINS,
    JOINS_ALONE,
    LANGUAGE,
    LISTED,
    LISTED_WORD,
    MASCULINE_TITLE,
    MOST_OF_A_WORD,
    NAMES_BOTH,
    OPENS_TITLE,
    PARTICIPLE,
    PASSES,
    POINT,
    QUOTE,
    RULES,
    S_OF_SHE,
    SECOND_OF_TITLE,
    SECOND_PIECE,
    SYMBOL,
    TITLE,
    TOUCHES,
)
from interventions.side import Side

Bits = NDArray[np.uint32]
_ANY_TITLE = MASCULINE_TITLE | FEMININE_TITLE
_MAY_OPEN_TITLE = TITLE | OPENS_TITLE | FIRST_OF_TITLE


def notice(before: Side, behind: Side, possible: Bits, others: Bits) -> Bits:
    """(N,) the rules that the tokens beside each word do not rule out; near the row's edge, `RowEdge` tells of more."""
    noticed = possible & CAPITALS
    noticed[(before.number == 0) & (others != 0)] |= HIDDEN

    first_behind = behind.flags(0)
    asked = np.flatnonzero(first_behind & ASKS)
    noticed[asked] |= _told_behind(behind.of(asked), possible[asked], others[asked])
    asked = np.flatnonzero(before.flags(0) & ASKS)
    noticed[asked] |= _told_before(before.of(asked), others[asked])
    goes_on = (first_behind & PARTICIPLE | behind.flags(1) & CONTINUES) != 0
    asked = np.flatnonzero(goes_on & (possible & LISTED != 0))
    noticed[asked] |= LANGUAGE * _may_be_participle(behind.of(asked))
    return noticed & (possible | NAMES_BOTH | HIDDEN)


def _told_behind(side: Side, possible: Bits, others: Bits) -> Bits:
    """(N,) what the tokens behind a word tell."""
    first, second = side.flags(0), side.flags(1)
    told = first & RULES
    told[second & CONTINUES != 0] &= ~np.uint32(LANGUAGE)
    told |= SYMBOL * _have(first, FIRST_PIECE, second, SECOND_PIECE)
    told |= CODE * _have(first, POINT, second, AFTER_POINT)
    told |= CODE * _have(first, QUOTE, second, AFTER_QUOTE)
    told |= _walk(side, others)
    asked = np.flatnonzero(possible & TITLE)
    told[asked] |= TITLE * _may_begin_title(side.of(asked))
    alone = _have(first, JOINS_ALONE, second, others) & (side.flags(2) & FREE_OPENING != 0)
    told[alone] = NAMES_BOTH
    return told


def _told_before(side: Side, others: Bits) -> Bits:
    """(N,) what the tokens before a word tell."""
    first, second = side.flags(0), side.flags(1)
    told = first & RULES
    told |= (SYMBOL | CODE) * _have(first, FIRST_PIECE, second, SECOND_PIECE)
    told |= TOUCHES * _have(first, QUOTE, second, AFTER_QUOTE)
    told |= _walk(side, others)
    alone = _have(first, JOINS_ALONE, second, others) & (second & FREE_OPENING != 0)
    told[alone] = NAMES_BOTH
    return told


def _have(first: Bits, of_first: np.uint32, second: Bits, of_second: np.uint32 | Bits) -> NDArray[np.bool_]:
    """(N,) whether two tokens beside one another have each one of some bits."""
    both: NDArray[np.bool_] = (first & of_first != 0) & (second & of_second != 0)
    return both


def _walk(side: Side, others: Bits) -> Bits:
    """(N,) COORDINATION, and LISTED, where a coordination or a list may begin at the nearest token: connectors, then a
    word of the other gender, or the row's edge, which may cut that word in two.
    """
    told, joined, listed = np.zeros(len(others), np.uint32), *np.zeros((2, len(others)), np.bool_)
    is_title = others & _ANY_TITLE != 0  # between titles, "and" joins, and a point may stand
    joins = np.where(is_title, JOINS | AND, JOINS)
    passing = np.where(is_title, PASSES | JOINS | AND | POINT, PASSES | JOINS | AND)
    walking = np.flatnonzero((others != 0) & (side.flags(0) & passing != 0))
    distance = 0
    while len(walking):
        here, following = side.of(walking).flags(distance), side.of(walking).flags(distance + 1)
        left = side.number[walking] - distance
        other = joined[walking] & _may_be(others[walking], here, following, step=side.step)
        cut_she = joined[walking] & (side.step < 0) & (here & S_OF_SHE != 0)
        in_list = listed[walking] & (here & LISTED_WORD != 0)
        stops = in_list | (here & passing[walking] == 0)
        cut = joined[walking] & (left <= MOST_OF_A_WORD)
        told[walking] = np.select(
            [left == 0, other, cut_she, stops],
            [COORDINATION, COORDINATION | LISTED, COORDINATION, LISTED * in_list | COORDINATION * cut],
            0,
        )
        joined[walking] |= here & joins[walking] != 0
        listed[walking] |= here & (JOINS | AND) != 0
        walking = walking[~((left == 0) | other | cut_she | stops)]
        distance += 1
    return told


def _may_be(words: Bits, here: Bits, following: Bits, *, step: int) -> NDArray[np.bool_]:
    """(N,) whether a token may be one of `words`, or the piece of one that `following` goes on with."""
    opens = (step > 0) | (here & FREE_OPENING != 0) | (following & ENDS_IN_LETTER == 0)
    may_be: NDArray[np.bool_] = opens & (here & words != 0) | _have(here, FIRST_PIECE, following, SECOND_PIECE)
    return may_be


def _may_begin_title(side: Side) -> NDArray[np.bool_]:
    """(N,) whether what stands behind blanks may be a title: a noun, or an adjective and more, or the row's edge."""
    blanks = side.run_of(PASSES)
    here, following, left = side.flags(blanks), side.flags(blanks + 1), side.number - blanks
    noun = (here & TITLE != 0) | _have(here, FIRST_OF_TITLE, following, SECOND_OF_TITLE)
    adjective = _have(here, OPENS_TITLE, following, _MAY_OPEN_TITLE | JOINS | PASSES)
    cut = (left == 0) | (left == 1) & (here & _MAY_OPEN_TITLE != 0)
    begins: NDArray[np.bool_] = noun | adjective | cut
    return begins


def _may_be_participle(side: Side) -> NDArray[np.bool_]:
    """(N,) whether the next word may end as a Spanish participle does."""
    last = side.run_of(CONTINUES, start=1)
    ends: NDArray[np.bool_] = (side.flags(0) | side.flags(last)) & PARTICIPLE != 0
    return ends
