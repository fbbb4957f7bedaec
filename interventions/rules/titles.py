"""his and her as parts of titles: "His Holiness", "Her Most Gracious Majesty", "his lordship", "PRAISE HER MAJESTY"."""

import regex

from interventions.rules.beside import Beside

NOUNS = (
    *("majesty", "majesties", "majestie", "highness", "highnesses", "excellency", "excellencies"),
    *("lordship", "lordships", "ladyship", "ladyships"),
)
CAPITALISED_NOUNS = (  # in lower case they are qualities ("her grace")
    *("Grace", "Graces", "Holiness", "Eminence", "Eminences", "Honor", "Honour", "Honors", "Honours", "Worship"),
    *("Worships", "Beatitude", "Reverence", "Serenity", "Grandeur", "Magnificence", "Sanctity", "Blessedness"),
)
QUALITIES = ("holiness", "grace", "eminence", "beatitude")  # titles before an office ("his holiness the pope")
ADJECTIVES = (
    *("royal", "imperial", "serene", "britannic", "most", "gracious", "divine", "sacred", "late", "christian"),
    *("catholic", "apostolic", "excellent", "faithful", "august", "illustrious", "holy", "orthodox", "exalted"),
    *("princely", "ducal", "electoral", "reverend", "venerable", "pontifical", "sovereign", "all", "british"),
    *("danish", "swedish", "prussian", "austrian", "hungarian", "russian", "french", "spanish", "portuguese"),
    *("dutch", "belgian", "hanoverian", "sicilian", "bavarian", "saxon", "german", "hellenic", "ottoman"),
)
OFFICES = (
    *("pope", "popes", "lord", "duke", "duchess", "archbishop", "bishop", "cardinal", "patriarch", "judge", "justice"),
    *("mayor", "dalai", "pontiff", "metropolitan", "governor"),
)

_MARK = r"(?:(?!\n\s*\n)[\s_*-])"
_TITLE = regex.compile(
    rf"{_MARK}{{1,8}}(?:(?i:{'|'.join(ADJECTIVES)}){_MARK}{{1,8}}(?:(?i:and){_MARK}{{1,8}})?){{0,4}}"
    rf"(?:(?i:{'|'.join(NOUNS)})|{'|'.join(CAPITALISED_NOUNS)}|{'|'.join(CAPITALISED_NOUNS).upper()}"
    rf"|(?:{'|'.join(QUALITIES)})(?=,?\sthe\s(?i:{'|'.join(OFFICES)})\b))(?![^\W_])"
)


def may_begin_behind(text: str) -> bool:
    """Whether the rest of a title may begin with this text, directly behind a possessive."""
    return _TITLE.match(text, partial=True) is not None


def opens_title(form: str, beside: Beside) -> bool | None:
    """Whether a possessive opens a title; None where that lies beyond the row."""
    if form.lower() not in ("his", "her"):
        return False
    found = _TITLE.match(beside.after, partial=beside.cut_after)
    if found is None:
        return False
    return None if found.partial else True
