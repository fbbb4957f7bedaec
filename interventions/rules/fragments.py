"""Parts of a longer word that brackets cut: "[T]he court" holds no he, "he[r] house" no he."""

import re

from interventions.rules.beside import Beside, closes

_BRACKETS_BEFORE = re.compile(r"(?:\[[^\W\d_]{1,3}\]|\([^\W\d_]{1,3}\))\Z")
_BRACKETS_AFTER = re.compile(r"[\[(](?:r|rs|re|rein|rself|self|m|mself|s|is)[\])]", re.IGNORECASE)


def is_fragment(form: str, beside: Beside) -> bool:
    """Whether letters in brackets touch a form."""
    return bool(closes(_BRACKETS_BEFORE, beside.before, within=6) or _BRACKETS_AFTER.match(beside.after))
