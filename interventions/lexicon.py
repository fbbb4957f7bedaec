"""The words that are replaced, and the choices that need their context: his -> her or hers, her -> his or him."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Reading = Literal["independent", "object"]


@dataclass(frozen=True)
class Pair:
    """A form and its replacement.

    Attributes:
        reading: what the form may be besides: "independent", a whole noun phrase ("the book is his"), or "object"
            ("saw her"); None: it is always the same.
        otherwise: the replacement in that reading.
    """

    form: str
    replacement: str
    reading: Reading | None = None
    otherwise: str | None = None


MASCULINE_TO_FEMININE = (
    Pair("he", "she"),
    Pair("him", "her"),
    Pair("himself", "herself"),
    Pair("his", "her", "independent", "hers"),
)
FEMININE_TO_MASCULINE = (
    Pair("she", "he"),
    Pair("her", "his", "object", "him"),
    Pair("hers", "his"),
    Pair("herself", "himself"),
)
NEUTRAL = (
    Pair("he", "they"),
    Pair("she", "they"),
    Pair("him", "them"),
    Pair("his", "their", "independent", "theirs"),
    Pair("her", "their", "object", "them"),
    Pair("hers", "theirs"),
    Pair("himself", "themselves"),
    Pair("herself", "themselves"),
)
AGREEMENT = (
    Pair("is", "are"),
    Pair("was", "were"),
    Pair("has", "have"),
    Pair("does", "do"),
    Pair("isn", "aren"),  # isn't
    Pair("wasn", "weren"),
    Pair("hasn", "haven"),
    Pair("doesn", "don"),
)
TITLES = (Pair("Mr", "Ms"), Pair("Sir", "Lady"), Pair("sir", "madam"))  # in these cases only
PLACEBO = tuple(
    pair
    for one, other in (("in", "on"), ("with", "for"), ("by", "at"))
    for pair in (Pair(one, other), Pair(other, one))
)

SUBJECTS = ("he", "she")
MASCULINE = tuple(pair.form for pair in MASCULINE_TO_FEMININE)
FEMININE = tuple(pair.form for pair in FEMININE_TO_MASCULINE)
PRONOUNS = MASCULINE + FEMININE


def in_every_case(pairs: Iterable[Pair]) -> tuple[Pair, ...]:
    """The pairs in lower case, Capitalised and in UPPER CASE."""
    return tuple(
        Pair(
            case(pair.form),
            case(pair.replacement),
            pair.reading,
            None if pair.otherwise is None else case(pair.otherwise),
        )
        for pair in pairs
        for case in (str.lower, str.capitalize, str.upper)
    )


def itself(pairs: Iterable[Pair]) -> tuple[Pair, ...]:
    """The forms of `pairs`, each in its own place."""
    return tuple(Pair(pair.form, pair.form) for pair in pairs)
