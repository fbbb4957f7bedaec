"""Whether the 's of "he's" stands for has or is, by the words behind it.

Measured on the demo's text, where "he has" and "she is" are written out: see docs/interventions.md.
"""

import re

ADVERBS = (
    *("not", "never", "always", "already", "just", "also", "only", "ever", "recently", "since", "long", "still"),
    *("really", "now", "often", "probably", "finally", "even", "actually", "certainly", "clearly", "almost", "yet"),
    *("all", "both", "either", "even", "hardly", "barely", "simply", "apparently", "obviously", "definitely"),
)
PERFECT_ADVERBS = frozenset({"never", "ever", "already", "just", "recently", "since", "always", "long", "finally"})
OBJECTS = (
    *("me", "you", "him", "her", "it", "us", "them", "himself", "herself", "my", "your", "his", "its", "our", "their"),
    *(
        "the",
        "a",
        "an",
        "this",
        "these",
        "those",
        "that",
        "everything",
        "everyone",
        "everybody",
        "nothing",
        "something",
    ),
    *("anything", "no", "some", "many", "several", "two", "three", "four", "what", "how", "all", "enough", "more"),
)
# participles that hardly follow is
INTRANSITIVE = frozenset(
    (
        *("been", "had", "got", "gotten", "become", "come", "gone", "begun", "grown", "risen", "fallen", "slept"),
        *("wept", "lain", "sat", "stood", "run", "swum", "stayed", "arrived", "died", "lived", "worked", "decided"),
        *("agreed", "tried", "wanted", "needed", "happened", "appeared", "disappeared", "returned", "refused"),
        *("managed", "failed", "started", "stopped", "changed", "learned", "learnt", "looked", "talked", "walked"),
        *("waited", "played", "passed", "travelled", "traveled", "remained", "continued", "contributed"),
        *("collaborated", "served", "studied", "competed", "participated", "performed", "starred", "graduated"),
        *("resided", "emerged", "succeeded", "struggled", "suffered", "earned", "received", "achieved", "experienced"),
        *("gained", "demonstrated", "argued", "proved", "proven", "claimed", "stated", "expressed", "noted"),
        *("suggested", "promised", "helped", "liked", "loved", "hated", "enjoyed", "seemed", "belonged", "resigned"),
        *("retired", "survived", "vanished", "escaped", "evolved", "developed", "spent", "lost", "won", "left"),
        *("published", "released", "recorded", "written", "taught", "said", "built", "held"),
    )
)
# participles that mostly have an object behind has, and none behind is
TRANSITIVE = frozenset(
    (
        *("done", "made", "taken", "seen", "given", "eaten", "told", "found", "brought", "bought", "thought", "felt"),
        *("kept", "heard", "met", "known", "shown", "spoken", "broken", "chosen", "driven", "flown", "forgotten"),
        *("forgiven", "hidden", "ridden", "sung", "stolen", "sworn", "thrown", "worn", "caught", "sent", "sold", "put"),
        *("set", "cut", "hit", "let", "read", "led", "paid", "laid", "swept", "struck", "fed", "fled", "fought"),
        *("sought", "hurt", "begun", "drawn", "fallen", "forbidden", "frozen", "woken", "understood", "mistaken"),
        *("overcome", "undergone", "undertaken", "withdrawn", "become", "beaten", "bitten", "blown", "drunk", "stuck"),
        *("lent", "dealt", "meant", "shot", "shut", "spread", "split", "spun"),
    )
)
STATES = frozenset(  # adjectives that end as participles do
    (
        *("tired", "married", "interested", "excited", "bored", "worried", "scared", "pleased", "supposed", "involved"),
        *("engaged", "dressed", "related", "concerned", "convinced", "confused", "determined", "devoted", "dedicated"),
        *("known", "born", "based", "located", "called", "named", "considered", "allowed", "forced", "expected"),
        *("required", "used", "prepared", "surprised", "disappointed", "embarrassed", "exhausted", "retired", "drunk"),
        *("stuck", "mistaken", "driven", "beaten", "broken", "hurt", "naked", "wicked", "wretched", "beloved"),
        *("aged", "red"),
    )
)
DATIVE = frozenset(["told", "given", "sent", "shown", "taught", "asked", "paid", "offered", "granted", "awarded"])
NAMED = frozenset(["named", "considered", "elected", "appointed", "deemed", "crowned", "voted"])

_WORD = re.compile(r"\s+([A-Za-z]+)(?![\w-])")
_OBJECT = re.compile(rf"\s+(?:{'|'.join(OBJECTS)})(?!\w)", re.IGNORECASE)
_BY, _BY_OR_AS = re.compile(r"\s+by(?!\w)"), re.compile(r"\s+(?:by|as)(?!\w)")
_A, _A_OR_THE, _THAT = (
    re.compile(r"\s+(?:an?|no)(?!\w)"),
    re.compile(r"\s+(?:an?|no|the)(?!\w)"),
    re.compile(r"\s+(?:that|no|what|how)(?!\w)"),
)
_TO = re.compile(r"\s+to(?!\w)")
_STATE_OF_LEFT = re.compile(r"\s+(?:alone|speechless|wondering|standing|to|with)(?!\w)")


def means_has(after: str) -> bool:
    """Whether the 's of "he's" stands for has, not is, by the text after it: "he's written", not "he's tired"."""
    adverbs, participle, rest = _adverbs_and_next(after)
    if participle in ("been", "had", "got", "gotten", "become", "gone", "come"):
        return True
    if participle == "left":
        return _STATE_OF_LEFT.match(rest) is None
    irregular = participle in INTRANSITIVE or participle in TRANSITIVE
    if not irregular and not (participle.endswith("ed") and len(participle) > 3):
        return False
    if (_BY if participle in INTRANSITIVE else _BY_OR_AS).match(rest):
        return False
    if _OBJECT.match(rest):
        return not (
            (participle == "called" and _A.match(rest))
            or (participle in NAMED and _A_OR_THE.match(rest))
            or (participle in DATIVE and _THAT.match(rest))
        )
    if participle in INTRANSITIVE and participle not in STATES:
        return not (participle == "said" and _TO.match(rest))
    if participle in STATES:
        return participle == "known" and not adverbs.isdisjoint(PERFECT_ADVERBS)
    if participle in TRANSITIVE:
        return _TO.match(rest) is None or participle == "taken"
    return not adverbs.isdisjoint(PERFECT_ADVERBS)


def _adverbs_and_next(after: str) -> tuple[set[str], str, str]:
    """The adverbs that open a text, the word behind them, and the rest."""
    adverbs: set[str] = set()
    place = 0
    while found := _WORD.match(after, place):
        word, place = found[1].lower(), found.end()
        if word not in ADVERBS and not (word.endswith("ly") and len(word) > 4):
            return adverbs, word, after[place:]
        adverbs.add(word)
    return adverbs, "", ""
