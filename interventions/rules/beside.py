"""The text on both sides of a word."""

import re
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


def closes(pattern: re.Pattern[str], text: str, *, within: int) -> bool:
    """Whether a pattern that ends with `$` is found among the last characters of a text."""
    return pattern.search(text, max(0, len(text) - within)) is not None
