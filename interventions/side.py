"""The tokens on one side of words, from the nearest on, by the flags that they have there.

Legend: S rows of W tokens, as (S * W,) `tokens`; V tokens in the vocabulary; N words.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from interventions.matching import Matches


@dataclass(frozen=True, eq=False)
class Side:
    """One side of N words.

    Attributes:
        step: 1 behind the words, -1 before them.
        tokens: (S * W,)
        table: (V,) `interventions.flags` of each token on this side.
        nearest: (N,) position of the token beside each word.
        number: (N,) tokens from there to the edge of the row.
    """

    step: int
    tokens: NDArray[np.integer]
    table: NDArray[np.uint32]
    nearest: NDArray[np.int64]
    number: NDArray[np.int64]

    def of(self, chosen: NDArray[np.intp]) -> "Side":
        """The same of some of the words."""
        return replace(self, nearest=self.nearest[chosen], number=self.number[chosen])

    def token(self, distance: NDArray[np.int64] | int) -> NDArray[np.integer]:
        """(N,) the token at a distance from the nearest one; any token where that is beyond the row."""
        return self.tokens.take(self.nearest + self.step * distance, mode="clip")

    def flags(self, distance: NDArray[np.int64] | int) -> NDArray[np.uint32]:
        """(N,) flags of that token; none beyond the row."""
        flags: NDArray[np.uint32] = self.table[self.token(distance)]
        flags[distance >= self.number] = 0
        return flags

    def run_of(self, bits: np.uint32, *, start: int = 0) -> NDArray[np.int64]:
        """(N,) how many tokens have one of `bits`, one behind the other from the distance `start` on."""
        number = np.zeros(len(self.nearest), np.int64)
        going = np.arange(len(self.nearest))
        while len(going):
            going = going[self.of(going).flags(start + number[going]) & bits != 0]
            number[going] += 1
        return number


def both_sides(
    rows: NDArray[np.integer], matches: Matches, *, before: NDArray[np.uint32], behind: NDArray[np.uint32]
) -> tuple[Side, Side]:
    """What stands before words, and what behind them, with the table of flags for either side."""
    tokens, width = rows.reshape(-1), rows.shape[1]
    column = matches.position % width
    stop = matches.position + matches.length
    return (
        Side(-1, tokens, before, matches.position - 1, column),
        Side(1, tokens, behind, stop, width - column - matches.length),
    )
