"""Words that name both genders: "he or she", "he'd or she'd", "his/her", "him- or herself", "s/he", "Mr. and Mrs.".

Between the two may stand blanks, one line end, quotes, brackets, emphasis, a comma or a dash; no end of a sentence and
no blank line. Pronouns joined by "and" are two people ("he and she"), and no coordination; titles so joined are one.
"""

import re
from functools import cache
from typing import NamedTuple

import regex

from interventions.lexicon import FEMININE, MASCULINE
from interventions.rules.beside import Beside, closes

MASCULINE_TITLES, FEMININE_TITLES = ("mr", "mister", "sir"), ("mrs", "ms", "miss", "madam", "madame", "ma'am", "lady")
BEFORE_NAMES = ("mr", "mister", "mrs", "ms", "miss")
GROUPS = (MASCULINE, FEMININE, MASCULINE_TITLES, FEMININE_TITLES)
OPPOSITE = (FEMININE, MASCULINE, FEMININE_TITLES, MASCULINE_TITLES)
SIGNS = "/\\&+|"
CONTRACTED = ("s", "d", "ll")
_REACH = 48

_CASES = (str.lower, str.capitalize, str.upper)
_MARK = r"(?:(?!\n\s*\n)(?:[^\w.!?;:]|_))"
_QUOTE = r"(?:(?!\n\s*\n)[\s_*'\"“”‘’()\[\]-])"
_OR = r"(?i:and\s?/\s?or|or\s?/\s?and|n?or)(?!\w)"
_S_BEFORE_HE = re.compile(r"(?<!\w)(?<!\w['’])(?:s\s*[/\\]|[(\[]s[)\]])\s*\Z", re.IGNORECASE)
_CUT_S_BEFORE_HE = regex.compile(r"(?r)[(\[]s[)\]]\s*", regex.IGNORECASE)
_SIGNS_BEFORE_HE = ("/", "\\", ")", "]", "(", "[")
_BRACKET_BEFORE_HE = re.compile(r"(?<!\w)(?<!\w['’])s[(\[]$", re.IGNORECASE)
_CONTRACTION = rf"(?:['’ʼ](?i:{'|'.join(CONTRACTED)})(?![^\W_]))?"
_REST_OF_LIST = rf"(?:\s?,?{_MARK}{{1,12}}{_OR}|\s?,{_QUOTE}{{0,6}}(?i:it|its|they|them|their|theirs)(?![\w'’]))"
_BRACKET_CLOSES = re.compile(rf"{_CONTRACTION}\s?[)\]]")
_CUT_BRACKET_CLOSES = regex.compile(_BRACKET_CLOSES.pattern)
_LIST_GOES_ON = re.compile(_CONTRACTION + _REST_OF_LIST)
_CUT_LIST_GOES_ON = regex.compile(_CONTRACTION + _REST_OF_LIST)


class _Patterns(NamedTuple):
    """What stands after and before a word of one group: the rest of a coordination, or of a list; `cut_` tell whether
    what the row cuts off may make it one.
    """

    after: re.Pattern[str]
    before: re.Pattern[str]
    bracket_before: re.Pattern[str]
    list_before: re.Pattern[str]
    cut_after: "regex.Pattern[str]"
    cut_before: "regex.Pattern[str]"
    cut_list_before: "regex.Pattern[str]"


@cache
def opposites(form: str) -> tuple[str, ...]:
    """The words of the other gender that a form may be coordinated with; none, if it is no pronoun and no title."""
    for group, other in zip(GROUPS, OPPOSITE, strict=True):
        if form.lower() in group:
            return other
    return ()


def names_both_genders(form: str, beside: Beside) -> bool | None:
    """Whether a word is one half of a coordination; None where what decides lies beyond the row."""
    word = form.lower()
    others = opposites(word)
    if not others:
        return False
    if word == "he" and _belongs_to_an_s(beside):
        return True
    patterns = _patterns(others, addresses=word not in BEFORE_NAMES)
    if patterns.after.match(beside.after):
        return True
    tail = beside.before[-_REACH:].lower()
    if any(other in tail for other in others) and closes(patterns.before, beside.before, within=_REACH):
        return True
    if beside.before.rstrip().endswith(("(", "[")) and closes(patterns.bracket_before, beside.before, within=_REACH):
        if _BRACKET_CLOSES.match(beside.after):
            return True
        if not beside.after.lstrip() and beside.cut_after:
            return None
    if _LIST_GOES_ON.match(beside.after) and closes(patterns.list_before, beside.before, within=_REACH):
        return True
    return None if _is_cut(word, patterns, beside) else False


def may_begin_behind(text: str) -> bool:
    """Whether the rest of a coordination, or of a list, may begin with this text, directly behind a word."""
    patterns = [_patterns(others, addresses=True).cut_after for others in GROUPS]
    return any(pattern.match(text, partial=True) for pattern in (*patterns, _CUT_LIST_GOES_ON, _CUT_BRACKET_CLOSES))


def may_end_before(text: str) -> bool:
    """Whether the first part of a coordination may end with this text, before a word and what leads it."""
    if text.rstrip().endswith(_SIGNS_BEFORE_HE) or not text.strip():
        return True
    patterns = [_patterns(others, addresses=True) for others in GROUPS]
    every = [pattern for each in patterns for pattern in (each.cut_before, each.cut_list_before)]
    return any(pattern.match(text + lead, partial=True) for pattern in every for lead in ("", " ", "'"))


def _is_cut(word: str, patterns: _Patterns, beside: Beside) -> bool:
    """Whether what the row cuts off may make a word one half of a coordination."""
    before, after = beside.before, beside.after
    if beside.cut_after and patterns.cut_after.match(after, partial=True):
        return True
    if beside.cut_before and (
        patterns.cut_before.match(before, partial=True)
        or (word == "he" and _CUT_S_BEFORE_HE.match(before, partial=True))
    ):
        return True
    if not beside.cut_after and not beside.cut_before:
        return False
    return bool(
        _CUT_LIST_GOES_ON.match(after, partial=beside.cut_after)
        and patterns.cut_list_before.match(before, partial=beside.cut_before)
    )


def _belongs_to_an_s(beside: Beside) -> bool:
    """ "s/he", "(s)he", "s(he)"."""
    if not beside.before.rstrip().endswith(_SIGNS_BEFORE_HE):
        return False
    if closes(_S_BEFORE_HE, beside.before, within=8):
        return True
    return closes(_BRACKET_BEFORE_HE, beside.before, within=3) and beside.after[:1] in (")", "]")


@cache
def _patterns(others: tuple[str, ...], *, addresses: bool) -> _Patterns:
    """What stands on either side of a word, if one of `others` is its other half.

    Args:
        addresses: whether a comma alone joins two titles: "Sir, Madam", and not "Madam, Mr Smith is here".
    """
    if others in (MASCULINE_TITLES, FEMININE_TITLES):
        ending, connector = r"\.?", rf"(?:{_OR}|(?i:and)(?!\w))"
        joints = [r"\s?,\s?(?i:dear\s)?" if addresses else r"\s?,\s?(?i:dear\s)"]
    else:
        ending, connector = _CONTRACTION, _OR
        joints = []
    them = rf"(?<![^\W_])(?:{'|'.join(case(word) for word in others for case in _CASES)})(?![^\W_]){ending}"
    joints += [rf"{_MARK}{{1,12}}{connector}{_MARK}{{1,12}}", rf"{_QUOTE}{{0,6}}[{re.escape(SIGNS)}]{_QUOTE}{{0,6}}"]
    joint = "|".join(joints)
    in_brackets = rf"\s?[(\[]\s?{them}\s?[)\]]"
    in_list = rf"\s?,{_QUOTE}{{0,6}}{them}{_REST_OF_LIST}"
    after, before = rf"{ending}(?:(?:{joint}){them}|{in_brackets}|{in_list})", rf"{them}(?:{joint}|\s?[(\[]\s?)"
    return _Patterns(
        after=re.compile(after),
        before=re.compile(rf"{them}(?:{joint})\Z"),
        bracket_before=re.compile(rf"{them}\s?[(\[]\s?\Z"),
        list_before=re.compile(rf"{them}\s?,{_QUOTE}{{0,6}}\Z"),
        cut_after=regex.compile(after),
        cut_before=regex.compile(f"(?r){before}"),
        cut_list_before=regex.compile(rf"(?r){them}\s?,{_QUOTE}{{0,6}}"),
    )
