"""The arm that changes nothing: the control."""

from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from interventions.intervention import identity_of
from interventions.ledger import Ledger, empty_ledger
from interventions.vocabulary import Vocabulary

Ids = TypeVar("Ids", bound=np.integer)


class Unmodified:
    """Rows as they are, with an empty ledger."""

    def __init__(self, name: str, *, vocabulary: Vocabulary) -> None:
        self.name = name
        self.identity = identity_of(name, vocabulary=vocabulary.fingerprint, tables={})
        self.facts: dict[str, Any] = {}

    def __call__(self, rows: NDArray[Ids], *, first_row: int) -> tuple[NDArray[Ids], Ledger]:
        return rows.copy(), empty_ledger(rows)
