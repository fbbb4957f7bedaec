"""Pronouns that are left as they are: those that name both genders, parts of titles, acronyms, and other languages.

Legend: V tokens in the vocabulary, K words. The rules are rules on text. Tables over the vocabulary find the few words
whose neighbourhood may match one; only there is text decoded.
"""

import re
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerBase

from interventions.kernels import count_near
from interventions.ledger import skipped
from interventions.lexicon import FEMININE, MASCULINE, PRONOUNS
from interventions.matching import Matches
from interventions.text_kernels import ACRONYM, ASK, SHOUT_CHARACTERS, TITLE, YES, judge, phrases
from interventions.vocabulary import Vocabulary, canonical_tokens_of_all

CONNECTORS = (" or ", " nor ", " and/or ", " or/and ", "/", " /", "/ ", " / ")
TITLE_NOUNS = (
    *("Majesty", "Majesties", "Highness", "Excellency", "Holiness", "Eminence", "Grace"),
    *("Honor", "Honour", "Lordship", "Ladyship", "Worship"),
)
TITLE_ADJECTIVES = ("Royal", "Imperial", "Serene")
ENGLISH_WORDS = (
    *("the", "and", "that", "with", "for", "from", "this", "which", "have", "had", "has", "were", "are", "been", "not"),
    *("they", "their", "would", "could", "when", "who", "what", "by", "it", "you", "there", "into", "because", "about"),
)
ENGLISH_REACH, ENGLISH_LEAST = 32, 2

_AHEAD, _TITLE, _CAPITALS, _BEHIND = 1, 2, 4, 8  # the bits of `kernels.examine`
_COORDINATION, _FIXED_EXPRESSION = skipped("coordination"), skipped("fixed_expression")
_ACRONYM, _LANGUAGE = skipped("acronym"), skipped("language")
_LOOK_BYTES = 20  # the longest phrase of these rules, " or/and himself", has 15 characters
_SHOUT_BYTES = 4 * SHOUT_CHARACTERS

_CASES = (str.lower, str.capitalize, str.upper)
_OTHERS = {
    form: [case(other) for other in others for case in _CASES]
    for forms, others in [(MASCULINE, FEMININE), (FEMININE, MASCULINE)]
    for form in forms
}
_AHEAD_OF = list(dict.fromkeys(case(word) for word in CONNECTORS for case in (str.lower, str.title, str.upper)))
_BEHIND_OF = list(dict.fromkeys(word.rstrip(" ") for word in _AHEAD_OF))  # a space behind it leads the word itself
_AFTER = {
    form: re.compile(rf"(?:{'|'.join(map(re.escape, _AHEAD_OF))})(?:{'|'.join(them)})(?!\w)")
    for form, them in _OTHERS.items()
}
_BEFORE = {
    form: re.compile(rf"(?<!\w)(?:{'|'.join(them)})(?:{'|'.join(map(re.escape, _BEHIND_OF))})$")
    for form, them in _OTHERS.items()
}
_S = ("s/", "(s)", "S/", "(S)")
_S_BEFORE_HE = re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, _S))})$")
_TITLE_AFTER = re.compile(rf" (?:(?:{'|'.join(TITLE_ADJECTIVES)}) )?(?:{'|'.join(TITLE_NOUNS)})(?!\w)")


def names_both_genders(form: str, before: str, after: str) -> bool:
    """Whether a pronoun stands in "he or she", "his/her", "him nor her", "herself and/or himself", "s/he" or "(s)he".

    The two are joined by one of `CONNECTORS`.

    Args:
        form: the pronoun.
        before, after: text on either side of it, without the space that leads it.
    """
    word = form.lower()
    if _AFTER[word].match(after) or _BEFORE[word].search(before):
        return True
    return word == "he" and _S_BEFORE_HE.search(before) is not None


def opens_title(after: str) -> bool:
    """Whether the text after a possessive makes it a part of a title: "His Holiness", "Her Royal Highness"."""
    return _TITLE_AFTER.match(after) is not None


def is_acronym(before: str, after: str) -> bool:
    """Whether a form in capitals stands for something else ("the HIS"): neither word beside it, within 32 characters,
    has two or more capitals and no other letters, so that nobody shouts.
    """
    before, after = before[-SHOUT_CHARACTERS:], after[:SHOUT_CHARACTERS]
    neighbours = [re.search(r"([^\W\d_]+)[\W\d_]*$", before), re.match(r"[\W\d_]*([^\W\d_]+)", after)]
    return not any(found and len(found[1]) > 1 and found[1].isupper() for found in neighbours)


class Exemptions:
    """The rules over one vocabulary.

    Args:
        forms: of each spelling that is looked for, in its case.
        english_only: also exempt what has fewer than `ENGLISH_LEAST` of `ENGLISH_WORDS` within `ENGLISH_REACH` tokens.

    Attributes:
        alert, ahead, ahead_2, behind, behind_2, title: tables of `kernels.examine`.
    """

    def __init__(
        self, forms: Sequence[str], *, tokenizer: PreTrainedTokenizerBase, vocabulary: Vocabulary, english_only: bool
    ) -> None:
        def encode(texts: Iterable[str]) -> list[tuple[int, ...]]:
            return canonical_tokens_of_all(list(texts), tokenizer, vocabulary)

        self._forms = forms
        self._vocabulary = vocabulary
        self.alert = np.array([_alert(form) for form in forms], np.uint8)
        pronouns = [f"{space}{case(word)}" for word in PRONOUNS for space in ("", " ") for case in _CASES]
        ahead = encode(word + pronoun.lstrip() for word in _AHEAD_OF for pronoun in pronouns)
        behind = encode(pronoun + word for word in _BEHIND_OF for pronoun in pronouns)
        behind += encode(space + text for text in _S for space in ("", " "))
        self.ahead, self.ahead_2 = (_flags([ids[at] for ids in ahead], vocabulary) for at in (0, 1))
        self.behind, self.behind_2 = (_flags([ids[at] for ids in behind], vocabulary) for at in (-1, -2))
        titles = [f" {noun}" for noun in TITLE_NOUNS]
        titles += [f" {adjective} {noun}" for adjective in TITLE_ADJECTIVES for noun in TITLE_NOUNS]
        self.title = _flags([ids[0] for ids in encode(titles)], vocabulary)
        self._gender = np.array([form.lower() in FEMININE for form in forms], np.int64)
        self._is_he = np.array([form.lower() == "he" for form in forms])
        self._ahead_of, self._behind_of = phrases(_AHEAD_OF), phrases(_BEHIND_OF)
        self._others = phrases(case(other) for them in (FEMININE, MASCULINE) for other in them for case in _CASES)
        self._cut_he, self._titles = phrases(_S), phrases(titles)
        english = {*ENGLISH_WORDS, *map(str.capitalize, ENGLISH_WORDS)} if english_only else set()
        self._english = np.array(
            [token.lstrip(b" ").decode("utf-8", "replace") in english for token in vocabulary.tokens]
        )
        self._english_only = english_only

    @property
    def tables(self) -> dict[str, object]:
        """What decides, for the identity of an intervention."""
        english = [ENGLISH_WORDS, ENGLISH_REACH, ENGLISH_LEAST] if self._english_only else None
        return {"connectors": CONNECTORS, "titles": [TITLE_ADJECTIVES, TITLE_NOUNS], "english": english}

    def find(
        self, rows: NDArray[np.integer], matches: Matches, noticed: NDArray[np.uint8], exempt: NDArray[np.uint8]
    ) -> None:
        """Fill `exempt` (K,), where it is 0, with the index in `OUTCOMES` of why a word is left.

        Args:
            noticed: (K,) what `kernels.examine` found not ruled out.
        """
        if self._english_only:
            near = count_near(rows.reshape(-1), rows.shape[1], matches.position, ENGLISH_REACH, self._english)
            exempt[(near < ENGLISH_LEAST) & (exempt == 0)] = _LANGUAGE
        noticed[exempt != 0] = 0
        told = np.empty(len(matches), np.uint8)
        judge(
            *(rows.reshape(-1), rows.shape[1], matches.position, matches.length, matches.spelling, noticed),
            *(self._gender, self._is_he, self._vocabulary.flat),
            *(self._ahead_of, self._behind_of, self._others, self._cut_he, self._titles, told),
        )
        exempt[told == YES] = _COORDINATION
        exempt[told == TITLE] = _FIXED_EXPRESSION
        exempt[told == ACRONYM] = _ACRONYM
        for match in np.flatnonzero(told == ASK):
            exempt[match] = self._judge(rows, matches, match, bits=int(noticed[match]))

    def _judge(self, rows: NDArray[np.integer], matches: Matches, match: np.intp, *, bits: int) -> np.uint8:
        row, start = divmod(int(matches.position[match]), rows.shape[1])
        stop = start + int(matches.length[match])
        enough = _SHOUT_BYTES if bits & _CAPITALS else _LOOK_BYTES
        before = after = ""
        if bits & (_BEHIND | _CAPITALS):
            before, _ = self._vocabulary.text_before(rows[row], start, enough=enough)
        if bits & (_AHEAD | _TITLE | _CAPITALS):
            after, _ = self._vocabulary.text_after(rows[row], stop, enough=enough)
        form = self._forms[matches.spelling[match]]
        if bits & (_AHEAD | _BEHIND) and names_both_genders(form, before, after):
            return _COORDINATION
        if bits & _TITLE and opens_title(after):
            return _FIXED_EXPRESSION
        if bits & _CAPITALS and is_acronym(before, after):
            return _ACRONYM
        return np.uint8(0)


def _alert(form: str) -> int:
    """What may be said of a form."""
    word = form.lower()
    return (
        _AHEAD * (word in PRONOUNS) + _TITLE * (word in ("his", "her")) + _CAPITALS * (len(form) > 1 and form.isupper())
    )


def _flags(ids: Iterable[int], vocabulary: Vocabulary) -> NDArray[np.bool_]:
    flags = np.zeros(vocabulary.size, np.bool_)
    flags[list(ids)] = True
    return flags
