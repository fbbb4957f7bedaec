"""The nouns and titles of WinoBias's published swap list (Zhao et al. 2018, `generalized_swaps.txt`)."""

from foundation import fetch
from interventions.lexicon import PRONOUNS, Pair

SOURCE = "winobias/generalized_swaps"
LEFT_OUT = ("miss",)  # nearly always the verb
_MISSPELT = {"mentleman": "gentleman"}


def published_swaps() -> tuple[Pair, ...]:
    """The list as pairs, both ways where it gives both, without pronouns; "mr." stands as mr.

    A form that is listed with several replacements takes the first.

    Raises:
        UserError: no route leads to the list.
    """
    pairs: dict[str, Pair] = {}
    for line in fetch(SOURCE).read_text("utf-8").splitlines():
        words = [_MISSPELT.get(word, word) for word in line.replace(".", "").split()]
        if len(words) != 2:
            continue
        form, replacement = words
        if form not in (*PRONOUNS, *LEFT_OUT, *pairs):
            pairs[form] = Pair(form, replacement)
    return tuple(pairs.values())
