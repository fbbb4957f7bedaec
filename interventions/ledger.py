"""The account that an intervention gives of what it did.

Legend: S rows, W tokens in a row, K words found.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import replace as with_changes
from functools import cached_property

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from interventions.positions import mark

SKIP_REASONS = {
    "compound": "joined by a hyphen or brackets to other letters, as in “he-man”, “[T]he”",
    "row_edge": "too close to the edge of a row: what would decide lies outside it",
    "coordination": "both genders are named, as in “he or she”, “his/her”, “s/he”, “Mr. and Mrs.”",
    "fixed_expression": "part of a title, as in “Her Majesty”",
    "acronym": "in capitals where nobody shouts, as in “the HIS”",
    "code": "part of an address, of code or of markup, as in “her@his.com”, “self.her”",
    "symbol": "stands for something else, as in “liquid He”, “His 57”",
    "language": "the words around it are not English",
    "length": "form and replacement have different numbers of tokens, and a row must keep its length",
    "not_drawn": "the dose, a coin or the shuffle did not choose it",
}
SWAPPED = 0
OUTCOMES = ("swapped", *(f"skipped_{reason}" for reason in SKIP_REASONS))

GROUPS = ("other", "swapped", "neighbouring")
NEIGHBOURS = 8


def skipped(reason: str) -> np.uint8:
    """Index in `OUTCOMES` of a word that is left for one of `SKIP_REASONS`."""
    return np.uint8(OUTCOMES.index(f"skipped_{reason}"))


@dataclass(frozen=True, eq=False)
class Ledger:
    """What was done to some rows: every word that was found, and what became of it.

    Attributes:
        shape: (S, W) of the rows.
        words: form and replacement, for each label.
        label: (K,) index in `words`.
        position: (K,) of a word's first token, counted through all rows.
        length: (K,) its tokens.
        outcome: (K,) index in `OUTCOMES`.
        learned: whether swapped words are learned as labels.
    """

    shape: tuple[int, ...]
    words: Sequence[tuple[str, str]]
    label: NDArray[np.integer]
    position: NDArray[np.int64]
    length: NDArray[np.int32]
    outcome: NDArray[np.uint8]
    learned: bool = True

    @cached_property
    def swapped(self) -> NDArray[np.bool_]:
        """(S, W) True at every token of a swapped word."""
        swapped = np.zeros(self.shape, np.bool_)
        chosen = self.outcome == SWAPPED
        mark(swapped.reshape(-1), self.position[chosen], self.length[chosen])
        return swapped

    @property
    def unlearned(self) -> NDArray[np.bool_] | None:
        """(S, W) tokens that are not to be learned as labels; None where all are."""
        return None if self.learned else self.swapped

    @cached_property
    def counts(self) -> pd.DataFrame:
        """A row per (form, replacement) that occurred, sorted: form, replacement, occurrences, and a column for each
        of `OUTCOMES`: swapped, skipped_<reason>. occurrences is their sum.
        """
        kinds = len(OUTCOMES)
        table = np.bincount(self.label.astype(np.int64) * kinds + self.outcome, minlength=len(self.words) * kinds)
        outcomes = table.reshape(len(self.words), kinds)
        counts = pd.DataFrame(outcomes, columns=list(OUTCOMES))
        counts.insert(0, "form", pd.Series([form for form, _ in self.words], dtype="str"))
        counts.insert(1, "replacement", pd.Series([replacement for _, replacement in self.words], dtype="str"))
        counts.insert(2, "occurrences", outcomes.sum(axis=1))
        counts = counts.groupby(["form", "replacement"], as_index=False).sum()
        return counts[counts["occurrences"] > 0].reset_index(drop=True)

    def in_order_of_the_text(self) -> "Ledger":
        """The same, sorted by position."""
        order = np.argsort(self.position, kind="stable")
        return with_changes(
            self,
            label=self.label[order],
            position=self.position[order],
            length=self.length[order],
            outcome=self.outcome[order],
        )

    def occurrences(self, *, first_row: int) -> pd.DataFrame:
        """A row for each word: row of the corpus, its first token there, tokens, form, replacement, outcome."""
        row, token = np.divmod(self.position, self.shape[1])
        forms, replacements = zip(*self.words, strict=True) if self.words else ((), ())
        return pd.DataFrame(
            {
                "row": row + first_row,
                "token": token,
                "tokens": self.length,
                "form": np.array(forms, object)[self.label],
                "replacement": np.array(replacements, object)[self.label],
                "outcome": np.array(OUTCOMES, object)[self.outcome],
            }
        )

    def groups(self) -> NDArray[np.uint8]:
        """(S, W) index in `GROUPS`: swapped; up to `NEIGHBOURS` tokens behind a swapped one in its row; other."""
        return group_tokens(self.swapped, NEIGHBOURS)

    def fingerprint(self) -> str:
        """SHA-256 of `swapped`, hexadecimal: positions that are computed again can be checked against it."""
        return hashlib.sha256(np.packbits(self.swapped, axis=None).tobytes()).hexdigest()


def empty_ledger(rows: NDArray[np.integer]) -> Ledger:
    """Of rows in which nothing was looked for."""
    nothing = np.zeros(0, np.int64)
    return Ledger(rows.shape, (), nothing, nothing, nothing.astype(np.int32), nothing.astype(np.uint8))


def group_tokens(swapped: NDArray[np.bool_], reach: int) -> NDArray[np.uint8]:
    """(S, W) index in `GROUPS`: swapped; up to `reach` tokens behind a swapped one in its row; other."""
    groups = np.zeros(swapped.shape, np.uint8)
    row, column = np.nonzero(swapped)
    for offset in range(1, reach + 1):
        inside = column + offset < swapped.shape[1]
        groups[row[inside], column[inside] + offset] = GROUPS.index("neighbouring")
    groups[swapped] = GROUPS.index("swapped")
    return groups
