"""Forms in capitals that stand for something else: "the HIS works", "UK HE providers".

A pronoun is in capitals because somebody shouts; then a word beside it is in capitals too ("HE SAID"), or its own
contraction is ("HE'S here"). Where the word on the other side is not, it must not look like another acronym: a word of
three letters or fewer that is not of `SHOUTED`, one without vowels, or one of `ACRONYMS` ("UK HE providers"). Where no
word beside it is in capitals, it may be stressed (`interventions.rules.stress`). Forms of more than three letters are
no acronyms ("the KING", "HIMSELF").
"""

import re

from interventions.rules.beside import Beside
from interventions.rules.stress import is_stressed

CHARACTERS = 32
MOST_LETTERS = 3
SHOUTED = frozenset(
    (
        *("A", "ABOUT", "AFTER", "ALL", "ALSO", "ALWAYS", "AM", "AN", "AND", "ANY", "ARE", "AS", "AT", "AWAY", "BACK"),
        *("BE", "BECAUSE", "BEEN", "BEFORE", "BUT", "BY", "CALLED", "CAME", "CAN", "CANNOT", "COME", "COULD", "DID"),
        *("DIE", "DIED", "DO", "DOES", "DON", "DOWN", "EVEN", "EVER", "FOR", "FOUND", "FROM", "GAVE", "GET", "GO"),
        *("GOD", "GOES", "GOING", "GONE", "GOOD", "GOT", "HAD", "HAS", "HAVE", "HE", "HER", "HERE", "HERS", "HIM"),
        *("HIMSELF", "HERSELF", "HIS", "HOW", "I", "IF", "IN", "INTO", "IS", "IT", "ITS", "JUST", "KNEW", "KNOW"),
        *("KNOWS", "LEFT", "LET", "LIKE", "LOVE", "LOVED", "LOVES", "MADE", "MAKE", "MAN", "MAY", "ME", "MEN", "MUST"),
        *("MY", "NEVER", "NO", "NOT", "NOW", "OF", "OFF", "ON", "ONE", "ONLY", "OR", "OTHER", "OUR", "OUT", "OVER"),
        *("OWN", "PUT", "SAID", "SAVED", "SAW", "SAY", "SAYS", "SEE", "SEES", "SHALL", "SHE", "SHOULD", "SO", "SOME"),
        *("SUCH", "TAKE", "TELL", "THAN", "THAT", "THE", "THEIR", "THEM", "THEN", "THERE", "THESE", "THEY", "THINKS"),
        *("THIS", "TO", "TOLD", "TOO", "TOOK", "UNTIL", "UP", "UPON", "USED", "VERY", "WANT", "WANTED", "WANTS", "WAS"),
        *("WE", "WENT", "WERE", "WHAT", "WHEN", "WHERE", "WHICH", "WHILE", "WHO", "WHY", "WILL", "WITH", "WON"),
        *("WOULD", "YES", "YET", "YOU", "YOUR"),
    )
)
ACRONYMS = frozenset(
    (*("NASA", "NATO", "UNESCO", "UNICEF", "OECD", "ASEAN", "HEFCE", "UCAS", "JISC", "IEEE", "AIDS", "OPEC"),)
)

_CONTRACTION = re.compile(r"['’ʼ](?:S|D|LL)(?![^\W\d_])")
_NEXT_WORD = re.compile(r"(?:['’ʼ](?:s|d|ll)(?!\w))?(?:[^\w.!?;:\n]|\n(?!\s*\n)|_|\d)*([^\W\d_]+(?:['’ʼ][^\W\d_]+)*)")
_LAST_WORD = re.compile(r"([^\W\d_]+(?:['’ʼ][^\W\d_]+)*)(?:[^\w.!?;:\n]|\n(?!\s*\n)|_|\d)*\Z")


def may_be_acronym(form: str) -> bool:
    """Whether the letters of a form may be initials."""
    return 2 <= len(form) <= MOST_LETTERS and form.isupper()


def is_acronym(form: str, beside: Beside) -> bool | None:
    """Whether a form in capitals is no pronoun; None where the word that decides lies beyond the row."""
    if not may_be_acronym(form):
        return False
    before, after = beside.before[-CHARACTERS:], beside.after[:CHARACTERS]
    if form in ("HE", "SHE") and _CONTRACTION.match(after):
        return False
    last, following = _LAST_WORD.search(before), _NEXT_WORD.match(after)
    words = [found[1] for found in (last, following) if found]
    capitals = [word for word in words if len(word) > 1 and word.isupper()]
    if len(capitals) == len(words) > 0 or any(_is_shouted(word) for word in capitals):
        return False
    open_before = last is None and beside.cut_before and len(before) < CHARACTERS
    open_after = following is None and beside.cut_after and len(after) < CHARACTERS
    if open_before or open_after:
        return None
    if capitals:
        return True
    return not is_stressed(form, last[1] if last else "", following[1] if following else "", beside)


def _is_shouted(word: str) -> bool:
    """Whether a word in capitals is a word rather than an acronym."""
    if word in SHOUTED or not word.isascii() or not word.isalpha():
        return True
    return len(word) > 3 and word not in ACRONYMS and not set(word).isdisjoint("AEIOUY")
