"""Pronouns in capitals for stress: "Then SHE said so", "I told HIM that", not "the SHE committee".

HE and SHE need a finite verb behind them, or an auxiliary that asks before them ("doesn't HE have one"); HIM, HER and
HIS a text that speaks of persons. What an article or another determiner opens is an acronym, and so is what stands in
brackets alone or opens brackets ("HIS (an information system)"), and what is near words of the acronym's own field.
"""

import re

from interventions.rules.beside import Beside

DETERMINERS = frozenset(
    (
        *("the", "a", "an", "these", "those", "each", "every", "any", "some", "no", "our", "your", "their", "its"),
        *("my", "his", "her", "whose", "another", "both", "all", "further", "higher", "hospital", "health"),
        *("environmental", "national", "local", "new", "existing", "current", "electronic", "digital", "clinical"),
    )
)
PREPOSITIONS = frozenset(
    (
        *("of", "in", "within", "across", "through", "throughout", "into", "from", "by", "to", "at", "on", "about"),
        *("with", "for", "under", "outside", "via", "between", "towards", "toward", "per", "entering"),
    )
)
AUXILIARIES = frozenset(
    (
        *("is", "was", "has", "had", "does", "did", "will", "would", "shall", "should", "can", "could", "may", "might"),
        *("must", "isn't", "wasn't", "hasn't", "hadn't", "doesn't", "didn't", "won't", "wouldn't", "can't", "couldn't"),
        *("shouldn't", "cannot", "ain't", "hath", "doth"),
    )
)
VERBS = frozenset(
    (
        *("said", "says", "told", "knew", "knows", "thought", "thinks", "wants", "made", "makes", "took", "takes"),
        *("came", "comes", "went", "goes", "got", "gets", "gave", "gives", "saw", "sees", "found", "finds", "left"),
        *("let", "lets", "loves", "died", "dies", "rose", "reigns", "kept", "keeps", "felt", "feels", "brought"),
        *("put", "puts", "ran", "runs", "began", "wrote", "writes", "spoke", "speaks", "heard", "hears", "held"),
        *("stood", "stands", "sat", "sits", "met", "lost", "won", "paid", "bought", "sold", "sent", "sends", "chose"),
        *("broke", "fell", "ate", "eats", "led", "leads", "grew", "threw", "understood", "meant", "means", "seems"),
        *("needs", "likes", "lives", "works", "looks", "calls", "asks", "tells", "turns", "hit", "bade"),
        *("never", "always", "also", "just", "only", "really", "alone", "himself", "herself", "who", "too", "ever"),
    )
)
BEHIND_OBJECTS = frozenset(
    (
        *("and", "or", "but", "to", "in", "on", "at", "for", "as", "that", "the", "a", "an", "with", "who", "whom"),
        *("because", "when", "if", "than", "not", "off", "out", "up", "down", "away", "back", "over", "about", "from"),
        *("again", "so", "too", "alone", "only", "there", "here", "now", "then", "before", "after", "this", "these"),
        *("what", "how", "why", "more", "instead", "is", "was", "he", "she", "it", "they", "we", "you", "his", "her"),
        *("my", "your", "their", "our", "its", "into", "by", "through", "like", "while", "until", "since", "though"),
    )
)
NOUNS = frozenset(  # what HIS, HER and HIM stand before as acronyms
    (
        *("data", "system", "systems", "software", "department", "departments", "professional", "professionals"),
        *("program", "programs", "database", "databases", "user", "users", "implementation", "implementations"),
        *("module", "modules", "staff", "vendor", "vendors", "committee", "sector", "institution", "institutions"),
        *("activity", "activities", "catalyst", "catalysts", "catalysis", "performance", "kinetics", "family"),
        *("receptor", "receptors", "kinase", "kinases", "pathway", "pathways", "signaling", "signalling"),
        *("expression", "overexpression", "positive", "negative", "status", "testing", "mutation", "mutations"),
        *("overpotential", "electrocatalyst", "electrocatalysts", "tag", "tags", "residue", "residues", "management"),
    )
)
FIELDS = {
    "HE": re.compile(r"higher education|universit|tuition|curricul|undergraduate|academi", re.IGNORECASE),
    "SHE": re.compile(r"safety|environment", re.IGNORECASE),
    "HIS": re.compile(r"information system|hospital|clinical", re.IGNORECASE),
    "HIM": re.compile(r"health information|medical record", re.IGNORECASE),
    "HER": re.compile(r"receptor|cancer|hydrogen|electro|cataly|tumou?r", re.IGNORECASE),
}
_PERSONS = re.compile(
    r"(?<![\w.])(?:I|[Mm]e|[Mm]yself|[Yy]ou|[Hh]e|[Hh]im|[Hh]is|[Hh]imself|[Ss]he|[Hh]er|[Hh]erself|God|Lord|LORD|Jesus"
    r"|Christ)(?![\w.]\w)(?!\w)|\b(?i:it|that|what|who|there|let)['’]s\b|\w(?:n['’]t|['’](?:m|re|ll|ve))\b",
)
_OPENS_BRACKET = re.compile(r"\s?[(\[\d]")
_PLURALS = ("ers", "ors", "ions", "ents", "ists", "ities", "ies", "ms", "ics")
_VERB = re.compile(r"\w+(?:ed|eth)|\w{3,}ly")
_IN_BRACKETS = re.compile(r"[(\[]\W{0,2}(?:HE|SHE|HIM|HER|HIS)\W{0,2}[)\]]")


def is_stressed(form: str, last: str, following: str, beside: Beside) -> bool:
    """Whether a form in capitals beside words that are not in capitals is a pronoun; no other word is stressed so.

    Args:
        last, following: the words beside it, "" where there is none.
    """
    if form not in FIELDS:
        return False
    text = f"{beside.before}{form}{beside.after}"
    if last.lower() in DETERMINERS:
        return False
    if _OPENS_BRACKET.match(beside.after) or _IN_BRACKETS.search(text):
        return False
    if FIELDS[form].search(text):
        return False
    word = following.replace("’", "'")
    if form in ("HE", "SHE"):
        return _is_subject(last.replace("’", "'"), word, text)
    if not last or word.lower() in NOUNS or not _PERSONS.search(beside.before + " " + beside.after):
        return False
    return form != "HIM" or word in BEHIND_OBJECTS or not re.match(r"\s*\w", beside.after)


def _is_subject(last: str, word: str, text: str) -> bool:
    """Whether a verb stands behind HE or SHE, and no preposition before it."""
    if last in PREPOSITIONS:
        return False
    if last.lower() in AUXILIARIES:
        return bool(word)
    if word in AUXILIARIES or word in VERBS or _VERB.fullmatch(word):
        return True
    third_person = word.islower() and word.endswith("s") and not word.endswith(_PLURALS)
    return third_person and _PERSONS.search(text) is not None
