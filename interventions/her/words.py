"""Words in rows of tokens, read for many places at once.

Legend: S rows of W tokens, as (S * W,) `tokens`; N places in them; V tokens in the vocabulary. `parts` are
`context.token_parts`.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

LONGEST_WORD = 8  # tokens
WORDS_AHEAD = 3
WINDOW = WORDS_AHEAD + 1  # the next words, then the previous one

OPENS, CLOSES, SPACED, BLANK, LINE = 1, 2, 4, 8, 16  # flags of `token_parts`; those from BLANK on are no plain words
ENDS, PREFIX, QUOTE, STOP, BULLET = 32, 64, 128, 256, 512
_EDGE, _CUT = 1, 2  # in the place of a word: the end of the text, the end of the row
OPENING, QUOTED = 3, 4  # a quotation mark behind a blank; one on either side

Places = NDArray[np.int64]
Flags = NDArray[np.bool_]
Hashes = NDArray[np.uint32]


@dataclass(frozen=True, eq=False)
class Words:
    """The rows and what their tokens add to words."""

    tokens: NDArray[np.integer]
    width: int
    parts: NDArray[np.void]

    def flags(self, at: Places) -> NDArray[np.uint16]:
        """(N,) flags of the tokens at some places; any where a place is beyond the rows."""
        flags: NDArray[np.uint16] = self.parts["flags"][self.tokens.take(at, mode="clip")]
        return flags

    def have(self, at: Places, flags: int) -> Flags:
        """(N,) whether the tokens at some places have one of `flags`."""
        found: Flags = self.flags(at) & flags != 0
        return found

    def joined(self, left: Places) -> Flags:
        """(N,) whether a token and the next one are of one word."""
        return (left % self.width < self.width - 1) & self.have(left, CLOSES) & self.have(left + 1, OPENS)

    def at_line_start(self, at: Places) -> Flags:
        """(N,) whether only marks of quoted lines and blanks stand between the beginning of a line and a token."""
        starts = np.zeros(len(at), np.bool_)
        waiting, at = np.arange(len(at)), at.copy()
        while len(waiting):
            here = at[waiting] - 1
            begins = (at[waiting] % self.width == 0) | self.have(here, LINE)
            starts[waiting[begins]] = True
            at[waiting] = here
            waiting = waiting[~begins & self.have(here, BLANK | PREFIX)]
        return starts

    def is_blank(self, at: Places) -> Flags:
        """(N,) whether a token is blank, as the marks of a quoted line are."""
        blank, marks = self.have(at, BLANK), np.flatnonzero(self.have(at, PREFIX))
        blank[marks] |= self.at_line_start(at[marks])
        return blank

    def step_over_blanks(self, at: Places, row: Places, step: int) -> tuple[Places, Hashes]:
        """(N,) the next token from `at` on that is no blank, and 0; or what stands in its place: `_EDGE` or `_CUT`.

        One line end is a blank, with the marks of a quoted line behind it; an empty line ends the text.
        """
        at, end, lines = at.copy(), np.zeros(len(at), np.uint32), np.zeros(len(at), np.int64)
        going = np.arange(len(at))
        while len(going):
            here = at[going]
            inside, is_line = here // self.width == row[going], self.have(here, LINE)
            lines[going] += is_line
            behind_line = (lines[going] == 2) | ~is_line & (lines[going] > 0) & self.have(here, BULLET)
            at_edge = self.have(here, ENDS) | behind_line & self.have(here, LINE | BULLET)
            end[going] = np.select([~inside, at_edge], [_CUT, _EDGE], 0)
            going = going[(end[going] == 0) & self.is_blank(here)]
            at[going] += step
        return at, end

    def word_from(self, at: Places, step: int, *, longest: int) -> tuple[Hashes, Places]:
        """(N,) hash of the word that a token begins, or ends where `step` is -1, and its token at the other end."""
        at = at.copy()
        value: Hashes = self.parts["hash"][self.tokens[at]]
        power: Hashes = self.parts["power"][self.tokens[at]]
        going = np.arange(len(at))
        for _ in range(longest - 1):
            going = going[self.joined(at[going] if step > 0 else at[going] - 1)]
            if not len(going):
                break
            at[going] += step
            part = self.parts[self.tokens[at[going]]]
            if step > 0:
                value[going] = value[going] * part["power"] + part["hash"]
            else:
                value[going] += part["hash"] * power[going]
                power[going] *= part["power"]
        return value, at


class Window(NamedTuple):
    """The words around N places: the next ones, then the previous one, of which `ending` is left 0."""

    word: Hashes
    ending: Hashes
    kind: Hashes


def words_around(words: Words, start: Places, stop: Places) -> Window:
    """(WINDOW, N) words behind and before the tokens [start, stop), or what stands in their place."""
    window = Window(*np.zeros((3, WINDOW, len(start)), np.uint32))
    row = start // words.width
    at, end = stop, np.zeros(len(stop), np.uint32)
    for slot in range(WORDS_AHEAD):
        at, end = _read_next(words, at, end, row, Window(*(column[slot] for column in window)))
    _read_previous(words, start, stop, row, Window(*(column[WORDS_AHEAD] for column in window)))
    return window


def _read_next(words: Words, at: Places, end: Hashes, row: Places, found: Window) -> tuple[Places, Hashes]:
    """Fill `found` (N,) with the word from `at` on, or with `end` where that is not 0; where, and whether, to go on."""
    first, at, end = at, at.copy(), end.copy()
    end[(end == 0) & (at // words.width != row)] = _CUT
    is_plain = words.flags(at) < BLANK
    asked = np.flatnonzero((end == 0) & ~is_plain)
    at[asked], end[asked] = words.step_over_blanks(at[asked], row[asked], 1)
    opening = (end == 0) & ~is_plain & words.have(at, QUOTE) & ((at > first) | words.have(at, SPACED))
    end[(end == 0) & ~is_plain & ~opening & words.have(at, STOP)] = _EDGE
    for column in found:
        column[:] = np.where(opening, OPENING, end)
    read = np.flatnonzero((end == 0) & ~opening)
    found.word[read], last = words.word_from(at[read], 1, longest=LONGEST_WORD)
    part, token = (last > at[read]).astype(int), words.tokens[last]
    found.ending[read], found.kind[read] = words.parts["ending"][token, part], words.parts["kind"][token, part]
    at[read] = last
    return at + 1, end


def _read_previous(words: Words, start: Places, stop: Places, row: Places, found: Window) -> None:
    """Fill `found.word` and `found.kind` (N,) with the word before `start`."""
    at, end = start - 1, np.where(start % words.width == 0, np.uint32(_CUT), np.uint32(0))
    asked = np.flatnonzero((end == 0) & (words.flags(at) >= BLANK))
    at[asked], end[asked] = words.step_over_blanks(at[asked], row[asked], -1)
    closes = (stop // words.width == row) & (words.flags(stop) & (QUOTE | SPACED) == QUOTE)
    quoted = (end == 0) & closes & words.have(at, QUOTE)
    for column in (found.word, found.kind):
        column[:] = np.where(quoted, QUOTED, end)
    read = np.flatnonzero((end == 0) & ~quoted)
    found.word[read], first = words.word_from(at[read], -1, longest=LONGEST_WORD)
    found.kind[read] = words.parts["kind"][words.tokens[at[read]], (first < at[read]).astype(int)]
