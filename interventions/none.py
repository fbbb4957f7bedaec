"""The arm that changes nothing: the control."""

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from interventions.intervention import identity_of
from interventions.ledger import SKIP_REASONS, Ledger, counts_frame
from interventions.vocabulary import Vocabulary

Ids = TypeVar("Ids", bound=np.integer)


class Unmodified:
    """Rows as they are, with an empty ledger."""

    def __init__(self, name: str, *, vocabulary: Vocabulary) -> None:
        self.name = name
        self.identity = identity_of(name, vocabulary=vocabulary.fingerprint, tables={})

    def __call__(self, rows: NDArray[Ids], *, first_row: int) -> tuple[NDArray[Ids], Ledger]:
        nothing = counts_frame([], np.zeros((0, 1 + len(SKIP_REASONS)), np.int64))
        return rows.copy(), Ledger(np.zeros(rows.shape, np.bool_), nothing)
