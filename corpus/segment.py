"""A run of steps in the fixed data order, and fingerprints of what they hold."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from corpus.inspection import check_batch
from corpus.rows import Corpus
from foundation import UserError


@dataclass(frozen=True)
class Segment:
    """The batches of steps [step, step + steps).

    Attributes:
        step: updates that the checkpoint has made; its next batch is this step's.
        steps: updates that a run makes.
        sequences_per_step: rows in a batch; 1024 for Pythia.
        rows_before: rows that the checkpoint has been trained on. The segment begins behind them, also where its own
            batches are of another size than the checkpoint's were.
    """

    corpus: Corpus
    step: int
    steps: int
    sequences_per_step: int
    rows_before: int

    def __post_init__(self) -> None:
        if self.steps < 1 or self.step < 0 or self.sequences_per_step < 1:
            raise UserError(
                f"step={self.step} steps={self.steps} sequences_per_step={self.sequences_per_step}: a run begins at "
                f"step 0 or later, makes at least one update, and each reads at least one row"
            )
        if self.rows_before > self.corpus.num_rows:
            raise UserError(
                f"the checkpoint at step={self.step} has been trained on {self.rows_before} rows, but "
                f"{self.corpus.location} holds {self.corpus.num_rows}; take an earlier step or the corpus of this "
                f"model (model.recipe.sequences_per_step is how many rows a step of its training read)"
            )
        last_step = self.step + (self.corpus.num_rows - self.rows_before) // self.sequences_per_step
        if self.stop > last_step:
            raise UserError(
                f"step={self.step} steps={self.steps} needs rows up to {self.stop_row}, but {self.corpus.location} "
                f"holds {self.corpus.num_rows}: it ends at step {last_step} ({self.sequences_per_step} rows a step); "
                f"take an earlier step or fewer steps"
            )

    def first_row(self, step: int) -> int:
        return self.rows_before + (step - self.step) * self.sequences_per_step

    @property
    def stop(self) -> int:
        return self.step + self.steps

    @property
    def stop_row(self) -> int:
        return self.first_row(self.stop)

    def batch(self, step: int) -> NDArray[np.uint16]:
        """(sequences_per_step, row_tokens) token ids of one step.

        Raises:
            UserError: they cannot be read, are no uint16 tokens, or a row holds nothing but token 0.
        """
        first = self.first_row(step)
        rows = self.corpus.rows(first, self.first_row(step + 1))
        check_batch(rows, first_row=first, location=self.corpus.location)
        return rows

    def sample_rows(self, count: int) -> tuple[int, int]:
        """First of `count` rows to learn from about the corpus, and the one behind the last.

        They are those before the segment; where fewer precede it, the corpus's first.
        """
        first = max(0, self.first_row(self.step) - count)
        return first, min(first + count, self.corpus.num_rows)

    def held_out_rows(self, count: int) -> tuple[int, bool]:
        """First of `count` rows to compare models on, and whether neither has been trained on them.

        They follow the segment. Where fewer do, as at Pythia's last step, where the order ends, they are its last.

        Raises:
            UserError: the corpus has not so many.
        """
        if count > self.corpus.num_rows:
            raise UserError(
                f"{self.corpus.location} holds {self.corpus.num_rows} rows, but {count} are to be held out; take fewer "
                f"(fidelity.rows, benchmarks.held_out.rows)"
            )
        unseen = self.stop_row + count <= self.corpus.num_rows
        return (self.stop_row if unseen else max(0, self.stop_row - count)), unseen


def fingerprint(rows: NDArray[np.uint16]) -> str:
    """SHA-256 of rows as little-endian uint16 in row order, hexadecimal: the bytes of the `.bin`."""
    return hashlib.sha256(np.ascontiguousarray(rows, "<u2").tobytes()).hexdigest()


def combined_fingerprint(fingerprints: Iterable[str]) -> str:
    """SHA-256 over the fingerprints of consecutive steps: the fingerprint of their segment."""
    return hashlib.sha256("".join(fingerprints).encode()).hexdigest()
