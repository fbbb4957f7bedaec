"""The account that an intervention gives of what it did."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

SKIP_REASONS = (
    "compound",  # joined by one hyphen to another word ("he-man")
    "row_edge",  # whether it is a whole word, or which replacement it takes, lies beyond the row
    "length",  # form and replacement have different numbers of tokens
)


@dataclass(frozen=True, eq=False)
class Ledger:
    """What was swapped, and what was left and why.

    Attributes:
        swapped: (S, W) True at every token of a swapped word.
        counts: a row per (form, replacement) that occurred, sorted: form, replacement, occurrences, swapped, and a
            column skipped_<reason> for each of `SKIP_REASONS`. occurrences = swapped + all that were skipped.
    """

    swapped: NDArray[np.bool_]
    counts: pd.DataFrame


def counts_frame(words: Sequence[tuple[str, str]], outcomes: NDArray[np.int64]) -> pd.DataFrame:
    """`Ledger.counts` from a table (len(words), 1 + len(SKIP_REASONS)) of numbers swapped and skipped."""
    outcome_columns = ["swapped", *(f"skipped_{reason}" for reason in SKIP_REASONS)]
    counts = pd.DataFrame(outcomes, columns=outcome_columns)
    counts.insert(0, "form", pd.Series([form for form, _ in words], dtype="str"))
    counts.insert(1, "replacement", pd.Series([replacement for _, replacement in words], dtype="str"))
    counts.insert(2, "occurrences", outcomes.sum(axis=1))
    occurred = counts[counts["occurrences"] > 0]
    return occurred.sort_values(["form", "replacement"], ignore_index=True)
