"""How much of an intervention is done, and chance: pure functions of the seed and the place in the corpus.

Legend: S rows, W tokens in a row, K words.
"""

from dataclasses import asdict, dataclass
from enum import IntEnum
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from foundation import UserError
from interventions.positions import places_where
from interventions.vocabulary import Vocabulary

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_1, _MIX_2 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)

Unit = Literal["occurrence", "row", "document"]
UNITS = get_args(Unit)


class Stream(IntEnum):
    """Independent sequences of chance."""

    DOSE = 0
    COIN = 1
    SHUFFLE = 2
    PLACEBO = 3
    FIT = 4


@dataclass(frozen=True)
class Dose:
    """Which words are changed.

    A word is drawn where a number in [0, 1), hashed from the seed and the place of its unit in the corpus, lies below
    `fraction`: so what a quarter changes, a half changes too, however rows are batched or resumed.

    Attributes:
        fraction: share of the units that are changed, 0 to 1.
        unit: what is drawn: each occurrence, each row, or each document as far as it lies in a row; where no
            end-of-document token stands, as in the deduplicated Pile, a row counts as one document.
        first_row, stop_row: corpus rows outside of which nothing is changed; None: no such bound.
        seed: of the hash.

    Raises:
        UserError: the fraction is no share, the unit is unknown, or the bounds are in the wrong order.
    """

    fraction: float = 1.0
    unit: Unit = "occurrence"
    first_row: int | None = None
    stop_row: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.fraction <= 1:
            raise UserError(f"intervention.fraction={self.fraction} is no share; set it from 0 to 1")
        if self.unit not in UNITS:
            raise UserError(f"intervention.unit={self.unit} is unknown; known are {', '.join(UNITS)}")
        if self.first_row is not None and self.stop_row is not None and self.first_row > self.stop_row:
            raise UserError(f"the dose would begin at row {self.first_row} and end before, at {self.stop_row}")

    @property
    def is_whole(self) -> bool:
        """Whether every word is changed."""
        return self.fraction == 1 and self.first_row is None and self.stop_row is None

    @property
    def identity(self) -> dict[str, Any] | None:
        """All that decides, None where every word is changed. Seed and unit do only where something is drawn."""
        drawn = {} if 0 < self.fraction < 1 else {"unit": None, "seed": None}
        return None if self.is_whole else asdict(self) | drawn

    def drawn(
        self, rows: NDArray[np.integer], position: NDArray[np.int64], *, first_row: int, vocabulary: Vocabulary
    ) -> NDArray[np.bool_]:
        """(K,) the words to change."""
        keys = unit_keys(rows, position, self.unit, first_row=first_row, vocabulary=vocabulary)
        return self.drawn_at(keys, first_row + position // rows.shape[1])

    def drawn_at(self, keys: NDArray[np.int64], row: NDArray[np.int64]) -> NDArray[np.bool_]:
        """(K,) whether to change the units that begin at `keys`, in tokens of the corpus, and lie in `row` of it."""
        chosen: NDArray[np.bool_] = draw(self.seed, int(Stream.DOSE), keys) < self.fraction
        if self.first_row is not None:
            chosen &= row >= self.first_row
        if self.stop_row is not None:
            chosen &= row < self.stop_row
        return chosen


def unit_keys(
    rows: NDArray[np.integer], position: NDArray[np.int64], unit: Unit, *, first_row: int, vocabulary: Vocabulary
) -> NDArray[np.int64]:
    """(K,) the place in the corpus, in tokens, where the unit of each word begins."""
    width = rows.shape[1]
    if unit == "occurrence":
        begin = position
    elif unit == "row":
        begin = position // width * width
    else:
        begin = document_starts(rows.reshape(-1), width, position, vocabulary.ends_document)
    keys: NDArray[np.int64] = begin + first_row * width
    return keys


def document_starts(
    tokens: NDArray[np.integer], width: int, position: NDArray[np.int64], ends_document: NDArray[np.bool_]
) -> NDArray[np.int64]:
    """(K,) index in `tokens` (S * W,) at which each position's document begins, or its row if the document is older."""
    ends = np.concatenate([[-1], places_where(ends_document, tokens)])
    last_end = ends[np.searchsorted(ends, position) - 1]
    starts: NDArray[np.int64] = np.maximum(last_end + 1, position // width * width)
    return starts


def draw(seed: int, stream: int, keys: NDArray[np.int64]) -> NDArray[np.float64]:
    """(K,) numbers uniform in [0, 1), each a function of (seed, stream, key) alone: splitmix64 of the three."""
    salt = _mixed(_mixed(np.array([seed]).astype(np.uint64) + _GOLDEN) + np.uint64(stream))
    bits = _mixed(salt ^ _mixed(keys.astype(np.uint64) + _GOLDEN))
    return (bits >> np.uint64(11)).astype(np.float64) * 2.0**-53


def _mixed(bits: NDArray[np.uint64]) -> NDArray[np.uint64]:
    bits = (bits ^ (bits >> np.uint64(30))) * _MIX_1
    bits = (bits ^ (bits >> np.uint64(27))) * _MIX_2
    return bits ^ (bits >> np.uint64(31))
