"""Pronouns that someone states as theirs: "(she/her/hers)", "he/him/his pronouns"."""

import re

from interventions.rules.beside import Beside, closes

_AFTER_HIM = re.compile(r"(?<!\w)him\s?/ ?\Z", re.IGNORECASE)
_AFTER_SHE = re.compile(r"(?<!\w)she\s?/ ?\Z", re.IGNORECASE)


def other_reading(form: str, beside: Beside) -> bool:
    """Whether a form has its other reading in a set: his -> hers behind "him/", her -> him behind "she/"."""
    behind = {"his": _AFTER_HIM, "her": _AFTER_SHE}.get(form.lower())
    return behind is not None and closes(behind, beside.before, within=8)
