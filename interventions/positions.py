"""Positions of tokens, counted through all rows: where a table holds, and what spans of them cover.

Legend: S rows of W tokens, as (S * W,) `tokens`; V tokens in the vocabulary; K spans.
"""

import numpy as np
from numpy.typing import NDArray

_AT_ONCE = 1 << 16  # tokens whose indices stay in the processor's cache


def places_where(table: NDArray[np.bool_], tokens: NDArray[np.integer]) -> NDArray[np.int64]:
    """Sorted positions of the tokens for which a (V,) table holds."""
    begins = range(0, len(tokens), _AT_ONCE)
    found = [begin + np.flatnonzero(table.take(tokens[begin : begin + _AT_ONCE])) for begin in begins]
    return np.concatenate(found) if found else np.zeros(0, np.int64)


def mark(mask: NDArray[np.bool_], position: NDArray[np.int64], length: NDArray[np.integer]) -> None:
    """Set `mask` (S * W,) at every token of each span."""
    mask[position] = True
    for offset in range(1, int(length.max(initial=0))):
        mask[position[length > offset] + offset] = True


def write(
    tokens: NDArray[np.integer],
    position: NDArray[np.int64],
    length: NDArray[np.integer],
    replacements: NDArray[np.integer],
) -> None:
    """Write the first tokens of each row of `replacements` (K, longest) over each span."""
    tokens[position] = replacements[:, 0]
    for offset in range(1, int(length.max(initial=0))):
        longer = np.flatnonzero(length > offset)
        tokens[position[longer] + offset] = replacements[longer, offset]
