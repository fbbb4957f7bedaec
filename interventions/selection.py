"""Which of the words that could be swapped are: by a coin for each document, a shuffle of each row, or at a given rate.

Legend: S rows, W tokens in a row, K words that could all be swapped; `position` (K,) of their first tokens, counted
through all rows.
"""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from interventions.dose import Stream, draw, unit_keys
from interventions.vocabulary import Vocabulary


class Selection(Protocol):
    """Chooses among words that could be swapped.

    Attributes:
        identity: of all that decides.
    """

    @property
    def identity(self) -> str: ...

    def __call__(
        self, rows: NDArray[np.integer], position: NDArray[np.int64], form: NDArray[np.integer], *, first_row: int
    ) -> NDArray[np.bool_]:
        """(K,) the chosen ones; `form` (K,) is their index in the pairs."""
        ...


class Coin:
    """All words of a document or none, with equal chances: counterfactual data substitution (Hall Maudslay et al. 2019,
    arXiv 1909.00871, section 2). A document is what of it lies in one row; without marks, a row.
    """

    def __init__(self, *, seed: int, vocabulary: Vocabulary) -> None:
        self.identity = f"coin {seed}"
        self._seed = seed
        self._vocabulary = vocabulary

    def __call__(
        self, rows: NDArray[np.integer], position: NDArray[np.int64], form: NDArray[np.integer], *, first_row: int
    ) -> NDArray[np.bool_]:
        keys = unit_keys(rows, position, "document", first_row=first_row, vocabulary=self._vocabulary)
        heads: NDArray[np.bool_] = draw(self._seed, int(Stream.COIN), keys) < 0.5
        return heads


class Shuffle:
    """Deals the genders that a row's pronouns have to the same pronouns at random: as many of each as before.

    Args:
        feminine: whether each pair's form is.
    """

    def __init__(self, feminine: Sequence[bool], *, seed: int) -> None:
        self.identity = f"shuffle {seed}"
        self._feminine = np.array(feminine)
        self._seed = seed

    def __call__(
        self, rows: NDArray[np.integer], position: NDArray[np.int64], form: NDArray[np.integer], *, first_row: int
    ) -> NDArray[np.bool_]:
        width = rows.shape[1]
        row = position // width
        feminine = self._feminine[form]
        lots = draw(self._seed, int(Stream.SHUFFLE), position + first_row * width)
        swapped: NDArray[np.bool_] = _dealt(row, lots, feminine) != feminine
        return swapped


def _dealt(row: NDArray[np.int64], lots: NDArray[np.float64], feminine: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """(K,) in each run of equal `row`, which is sorted, as many True as `feminine` has, where the lots are lowest."""
    begins = np.diff(row, prepend=-1) != 0
    run, first = np.cumsum(begins) - 1, np.flatnonzero(begins)
    rank = np.arange(len(row)) - first[run]
    dealt = np.empty(len(row), np.bool_)
    dealt[np.lexsort((lots, row))] = rank < np.bincount(run, weights=feminine)[run]
    return dealt


class AtRate:
    """Each word by itself with the chance `rate`."""

    def __init__(self, rate: float, *, seed: int) -> None:
        self.identity = f"rate {rate!r} {seed}"
        self._rate = rate
        self._seed = seed

    def __call__(
        self, rows: NDArray[np.integer], position: NDArray[np.int64], form: NDArray[np.integer], *, first_row: int
    ) -> NDArray[np.bool_]:
        keys = position + first_row * rows.shape[1]
        chosen: NDArray[np.bool_] = draw(self._seed, int(Stream.PLACEBO), keys) < self._rate
        return chosen
