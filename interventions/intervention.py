"""What an intervention is to the rest of the kit."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from interventions.ledger import Ledger

Ids = TypeVar("Ids", bound=np.integer)


class Intervention(Protocol):
    """A pure function of rows of token ids and their place in the corpus.

    Attributes:
        name: as in `intervention=`.
        identity: SHA-256, hexadecimal, of all that decides what it does: name, options, tables, vocabulary.
        facts: what a reader of the result should know of how it decides, for run.json: measured accuracies and rates.
    """

    name: str
    identity: str
    facts: dict[str, Any]

    def __call__(self, rows: NDArray[Ids], *, first_row: int) -> tuple[NDArray[Ids], Ledger]:
        """Return new rows of the same shape and dtype, and the ledger.

        Args:
            rows: (S, W) token ids; not modified.
            first_row: the corpus row that `rows` begins with.
        """
        ...


def identity_of(name: str, *, vocabulary: str, tables: Mapping[str, Any]) -> str:
    """SHA-256 over an intervention's name, the fingerprint of its vocabulary and its tables."""
    content = {"name": name, "vocabulary": vocabulary, "tables": tables}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
