"""Places in rows of tokens, known by all tokens up to them.

In the shape descriptions `R` denotes rows and `T` their tokens.
"""

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Ids: TypeAlias = npt.NDArray[np.int64]
Hashes: TypeAlias = npt.NDArray[np.uint64]
Context: TypeAlias = tuple[int, ...]

_START, _PRIME, _MIX = np.uint64(0xCBF29CE484222325), np.uint64(0x100000001B3), np.uint64(0x9E3779B97F4A7C15)


def prefix_hashes(ids_RT: Ids) -> Hashes:
    """For each place a hash of the tokens up to and with it (R, T)."""
    hashes_RT = np.empty(ids_RT.shape, np.uint64)
    state_R = np.full(len(ids_RT), _START)
    for place, tokens_R in enumerate(ids_RT.T.astype(np.uint64)):
        state_R = (state_R ^ mixed(tokens_R + np.uint64(1))) * _PRIME
        hashes_RT[:, place] = state_R
    return hashes_RT


def mixed(values: Hashes) -> Hashes:
    """Bits of 64-bit numbers spread over all of them (Steele et al. 2014, SplitMix)."""
    values = values * _MIX
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


class Places:
    """Finds contexts that are known by number."""

    def __init__(self, contexts: Sequence[Context]) -> None:
        lengths = np.array([len(context) for context in contexts], np.int64)
        hashes = np.empty(len(contexts), np.uint64)
        for length in np.unique(lengths):
            (own,) = np.nonzero(lengths == length)
            hashes[own] = prefix_hashes(np.array([contexts[number] for number in own.tolist()], np.int64))[:, -1]
        self._number = np.argsort(hashes)
        self._sorted = hashes[self._number]

    def find(self, ids_RT: Ids) -> Ids:
        """For each place the number of the context that ends there, -1 where none does (R, T)."""
        if not len(self._sorted):
            return np.full(ids_RT.shape, -1)
        hashes_RT = prefix_hashes(ids_RT)
        at_RT = np.minimum(np.searchsorted(self._sorted, hashes_RT), len(self._sorted) - 1)
        return np.where(self._sorted[at_RT] == hashes_RT, self._number[at_RT], -1)
