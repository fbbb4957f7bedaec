"""his -> her or hers, in rows of tokens: mostly the next token tells, sometimes the text on both sides."""

import re

import numpy as np
from numpy.typing import NDArray

from interventions.flags import BLANK, CONTINUES, FREE_OPENING, LATER_PIECE, OF, POINT
from interventions.matching import Matches
from interventions.side import Side
from interventions.surroundings import LOOK_BYTES, read_beside
from interventions.vocabulary import HYPHENS, Vocabulary, complete_text

UNSETTLED = 2

INDEPENDENT_BEFORE = (
    *("is", "are", "was", "were", "be", "been", "has", "have", "had", "does", "do", "did", "could", "should", "must"),
    *("shall", "would", "cannot", "to", "from", "that", "who", "whom", "whose", "which", "where", "when", "while"),
    *("because", "if", "unless", "whether", "though", "although", "than", "nor"),
    *("told", "said", "says", "tells", "went", "came", "comes", "goes", "gave", "gives", "knew", "knows", "took"),
    *("takes", "saw", "sees", "wrote", "writes", "became", "becomes", "began", "begins", "got", "gets", "brought"),
    *("kept", "asked", "asks", "tried", "tries", "seems", "seemed", "sat", "stood", "lay", "died", "lived"),
    *("happened", "appeared", "suggested", "remarked", "recalled"),
)
INDEPENDENT_BEFORE_THESE = {
    "but": frozenset(
        (
            *("he", "she", "it", "they", "we", "you", "i", "this", "that", "these", "those", "there", "the", "a", "an"),
            *("not", "no", "never", "also", "in", "on", "at", "for", "to", "from", "with", "when", "if", "what", "who"),
            *("as", "his", "her", "my", "your", "our", "their", "its", "everyone", "everybody", "nobody"),
            *("people", "others"),
        )
    )
    | {""},
    "and": frozenset({"mine", "yours", "ours", "theirs", "hers"}),
    "or": frozenset({"mine", "yours", "ours", "theirs", "not"}),
}
INDEPENDENT_AFTER_OF = (  # "a friend of his in London"
    *("in", "at", "on", "for", "by", "with", "as", "and", "named", "called", "once", "during", "over", "until"),
    *("after", "before", "since", "about", "around"),
)
SENTENCE_MARKS = ".,;:!?)"

KNOWN_BEHIND_HIS = (*INDEPENDENT_BEFORE, *INDEPENDENT_BEFORE_THESE, *INDEPENDENT_AFTER_OF)
_CLOSING_MARKS = "*_~\"'”’"
_ONE_OF = re.compile(
    r"\b(?:an?|some|any|no|this|that|these|those|one|two|three|four|five|six|several|many|every|each|another|other|few"
    r"|all|more|most)\s(?:[\w'’-]+\s){1,4}of\s*$",
    re.IGNORECASE,
)
_ALL_BYTES = 1 << 30


def stands_independently(following: str, *, ended: bool, preceding: str | None = None) -> bool | None:
    """Whether a possessive stands alone ("a friend of his"), by the text around it.

    It does at the end of a document, before sentence punctuation (not before a decimal or a name that begins with a
    point: ".45 calibre", ".NET") and before a word of `INDEPENDENT_BEFORE`, which hardly ever opens the rest of a noun
    phrase; before "but", "and", "or" if the word behind those goes on so; behind "a friend of", also before a word of
    `INDEPENDENT_AFTER_OF`. Emphasis and quotes that close directly behind it are overlooked, and so is a bracket that
    holds it alone.

    Args:
        following: the text after the possessive, as far as it is known.
        ended: the document ends where `following` ends.
        preceding: the text before it; None where it is not known.

    Returns:
        None where it depends on what is not known. What is decided stays so however the text goes on.
    """
    text = following.lstrip(_CLOSING_MARKS)
    if text.startswith(")"):
        if preceding is None:
            return None
        text = text[1:] if preceding.endswith("(") else text
    rest = text.lstrip()
    if not rest:
        return True if ended else None
    if rest[0] == ".":
        return _ends_a_sentence(rest, spaced=text[0].isspace(), ended=ended)
    if rest[0] in SENTENCE_MARKS:
        return True
    word = re.match(r"\w*", rest)[0].lower()  # type: ignore[index]  # the pattern matches every text
    if len(word) == len(rest) and not ended:
        return None if any(known.startswith(word) for known in KNOWN_BEHIND_HIS) else False
    if rest[len(word) :].startswith(tuple(HYPHENS)):
        return False
    if word in INDEPENDENT_BEFORE:
        return True
    if word in INDEPENDENT_BEFORE_THESE:
        verdict = _goes_on(rest[len(word) :], INDEPENDENT_BEFORE_THESE[word], ended=ended)
        if verdict is not False:
            return verdict
    if word in INDEPENDENT_AFTER_OF:
        return None if preceding is None else _ONE_OF.search(preceding) is not None
    return False


def _ends_a_sentence(rest: str, *, spaced: bool, ended: bool) -> bool | None:
    if len(rest) == 1:
        return True if ended else None
    return not (rest[1].isalnum() if spaced else rest[1].isdigit())


def _goes_on(rest: str, words: frozenset[str], *, ended: bool) -> bool | None:
    """Whether the next word is one of `words`."""
    word = re.match(r"\s*(\w*)", rest)[1].lower()  # type: ignore[index]
    if len(word) == len(rest.lstrip()) and not ended:
        return None if any(known.startswith(word) for known in words) else False
    return word in words


class Independence:
    """The rule `stands_independently` over one vocabulary.

    Attributes:
        by_next_token: (V,) what the token behind a possessive tells by itself: 1 independent, 0 not, `UNSETTLED` more
            is needed.
        by_next_word: (V,) the same where a word ends with that token, and no "of" stands before the possessive.
    """

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._vocabulary = vocabulary
        self.by_next_token, self.by_next_word = np.full((2, vocabulary.size), UNSETTLED, np.uint8)
        for token_id, (token, special) in enumerate(zip(vocabulary.tokens, vocabulary.ends_document, strict=True)):
            text = "" if special else complete_text(token)
            told = stands_independently(text, ended=bool(special))
            whole = text[-1:].isalpha() or text.strip() == "."
            of_word = stands_independently(f"{text} ", ended=False, preceding="") if whole else told
            if told is not None:
                self.by_next_token[token_id] = told
            if of_word is not None:
                self.by_next_word[token_id] = of_word

    def by_tokens(self, before: Side, behind: Side) -> NDArray[np.uint8]:
        """(N,) what the tokens beside possessives tell, as `by_next_token`; behind them is at least one."""
        told: NDArray[np.uint8] = self.by_next_token[behind.token(0)]
        asked = np.flatnonzero((told == UNSETTLED) | (behind.flags(0) & BLANK != 0))
        told[asked] = self._by_next_word(before.of(asked), behind.of(asked))
        return told

    def _by_next_word(self, before: Side, behind: Side) -> NDArray[np.uint8]:
        """(N,) the same from the next token that is not blank, and whether it is a word by itself."""
        next_word = np.minimum(behind.run_of(BLANK), behind.number - 1)
        token, flags, following = behind.token(next_word), behind.flags(next_word), behind.flags(next_word + 1)
        told: NDArray[np.uint8] = self.by_next_token[token]
        unsettled = (told == UNSETTLED) & (flags & POINT == 0)
        goes_on = following & CONTINUES != 0
        told[unsettled & goes_on & (following & LATER_PIECE == 0)] = 0
        ends = unsettled & ~goes_on & (following & FREE_OPENING != 0) & (before.flags(0) & OF == 0)
        told[ends] = self.by_next_word[token[ends]]
        return told

    def settle(self, rows: NDArray[np.integer], matches: Matches, verdict: NDArray[np.uint8]) -> None:
        """Replace every `UNSETTLED` in `verdict` (K,) by what the text tells; it stays where the row ends too early."""
        unsettled = np.flatnonzero(verdict == UNSETTLED)
        for match, beside in zip(
            unsettled.tolist(), read_beside(rows, matches[unsettled], self._vocabulary), strict=True
        ):
            whole = len(beside.after.encode()) < LOOK_BYTES - 4
            ended = whole and not beside.cut_after
            known = stands_independently(beside.after, ended=ended, preceding=beside.before)
            if known is None and not whole:
                known = self._read_on(rows, matches, match, preceding=beside.before)
            verdict[match] = UNSETTLED if known is None else known

    def _read_on(self, rows: NDArray[np.integer], matches: Matches, match: int, *, preceding: str) -> bool | None:
        """The same from all that the row holds: blanks may be long."""
        row, column = divmod(int(matches.position[match] + matches.length[match]), rows.shape[1])
        text, ended = self._vocabulary.text_after(rows[row], column, enough=_ALL_BYTES)
        return stands_independently(text, ended=ended, preceding=preceding)
