"""Passages that show what an intervention did."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerBase


def swap_examples(
    rows: NDArray[np.integer[Any]],
    intervened: NDArray[np.integer[Any]],
    swapped: NDArray[np.bool_],
    tokenizer: PreTrainedTokenizerBase,
    *,
    first_row: int,
    count: int,
    context: int = 24,
) -> list[dict[str, Any]]:
    """Passages around the first swapped word of the first `count` rows that hold one.

    Args:
        rows: (S, L + 1) token ids before the intervention.
        intervened: the same rows after it.
        first_row: corpus row of `rows[0]`.
        swapped: the tokens that belong to swapped words.
        context: tokens shown on either side.

    Returns:
        For each passage its corpus `row` and its `pieces`: text, and what it was `replaced_by` (None: kept).
    """
    examples = []
    for row in np.flatnonzero(swapped.any(axis=1))[:count]:
        first = int(np.argmax(swapped[row]))
        window = slice(max(0, first - context), first + context)
        marks = swapped[row, window]
        bounds = np.flatnonzero(np.diff(marks)) + 1
        old_pieces, new_pieces = np.split(rows[row, window], bounds), np.split(intervened[row, window], bounds)
        pieces = [
            {"text": tokenizer.decode(old), "replaced_by": None if np.array_equal(old, new) else tokenizer.decode(new)}
            for old, new in zip(old_pieces, new_pieces, strict=True)
        ]
        examples.append({"row": first_row + int(row), "pieces": pieces})
    return examples
