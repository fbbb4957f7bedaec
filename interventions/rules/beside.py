"""The text on both sides of a word."""

from typing import NamedTuple


class Beside(NamedTuple):
    """What stands around a word, without the space that leads it.

    Attributes:
        before, after: text, as far as it was read.
        cut_before, cut_after: whether more of it lies beyond the edge of the row.
    """

    before: str
    after: str
    cut_before: bool = False
    cut_after: bool = False
