"""The sieve over tokens against the rules on text, in vocabularies that cut words into one token or into several."""

import random

import numpy as np
import pytest

from interventions import exemptions, load_intervention
from interventions.flags import LANGUAGE
from interventions.ledger import OUTCOMES
from interventions.notice import notice
from sample_corpus import word_tokenizer
from test_rewrite import TOKENIZERS, WORDS, ReadsHerByTheNextLetter
from test_vocabulary import END, byte_level_tokenizer, decoded

VOCABULARIES = TOKENIZERS | {"most pronouns in two tokens": byte_level_tokenizer(400), "words": word_tokenizer()}
ARMS = ("swap", "pronouns_and_titles")
PRONOUNS = ("he", "him", "his", "himself", "she", "her", "hers", "herself")
TITLES = ("Mr", "mister", "sir", "Mrs", "Ms", "miss", "madam", "Madame", "ma'am", "lady")
CONNECTORS = (
    *(
        "or",
        " or ",
        " nor ",
        "/",
        " / ",
        " and/or ",
        " OR ",
        "s/",
        "(s)",
        " s/ ",
        "[s]",
        " and ",
        " (or ",
        "&",
        ", or ",
    ),
    *("- or ", " or\n", "s(", ", ", " (", "(", ")", " and / or ", ", dear ", "+", "\\", ", they", " or it", "|", " | "),
    *("*", "_", "“", "—or ", "\n> or ", ". or ", "; ", "\n\n", "'d or ", "’ll or ", "'s/", "'S", ".", ". "),
)
OTHERS = (
    *(
        "Majesty",
        "Royal Highness",
        "most gracious majesty",
        "grace",
        "57",
        "et al.",
        "liquid ",
        "3 ",
        "fr",
        "en",
        "Asp",
    ),
    *("visto", "und", "der", "self.", 'lang="', "return ", "struct ", "()", "->", "=", "$", "@", "#", "http://x.org/"),
    *(".com", "`", "{", "}", "<", ">", "K. ", ", J.", "Mr. ", "Dr.", "President ", "said", "import ", "if ", ":= 3"),
    *("sheds", "heuristic", "hertz", "é", "漢", "THE", "NHS", "God", "I", "__", "________", "  ", "\t", "🦔", "-", "ʼ"),
)
COORDINATIONS = (
    *("he or she", "his/her", "him nor her", "she and/or he", "he & she", "him- or herself", "himself or herself"),
    *(
        "he (or she)",
        "he(she)",
        "she [he]",
        "s/he",
        "s/ he",
        "(s)he",
        "[S]he",
        "s(he)",
        "he, she or they",
        "he, she, it",
    ),
    *(
        "she, he, they",
        "his, her, or their",
        "“he” or “she”",
        "_he_ or _she_",
        "he or\n> she",
        "he—or she",
        "HE OR SHE",
    ),
    *("he'd or she'd", "he’ll or she’ll", "she's/he's", "HE'S OR SHE'S", "he'll, she'll or they'll", "he|she|it"),
    *("he  or   she", "he\u00a0or she", "Mr. and Mrs. Smith", "Sir or Madam", "Dear Sir, dear Madam", "Mr./Ms. Smith"),
    *("he — *** or *** — she", "he’d — *** or *** — she"),
)


@pytest.fixture(scope="module")
def arms():
    return {
        (name, arm): load_intervention(arm, tokenizer=tokenizer, reads_her=ReadsHerByTheNextLetter(tokenizer))
        for name, tokenizer in VOCABULARIES.items()
        for arm in ARMS
    }


def random_text(draw: random.Random) -> str:
    """Pronouns, titles, and what rules look for beside them, in any order."""
    pieces = []
    for _ in range(40):
        form = draw.choice(PRONOUNS + TITLES * (draw.random() < 0.3))
        form = draw.choice((str, str.lower, str.capitalize, str.upper))(form)
        piece = draw.choice((form, draw.choice(CONNECTORS), draw.choice(CONNECTORS + OTHERS + WORDS)))
        pieces.append(draw.choice((" ", " ", "", "")) + piece)
    return "".join(pieces) + END * (draw.random() < 0.3)


def random_rows(draw: random.Random, name: str) -> np.ndarray:
    ids = [token for _ in range(8) for token in VOCABULARIES[name].encode(random_text(draw))]
    width = draw.choice((1, 2, 3, 5, 8, 12, 21, 64))
    return np.array(ids[draw.randrange(width) :][: len(ids) // width * width - width], np.uint16).reshape(-1, width)


def notice_everything(before, behind, possible, others):
    """As `notice`, but that every rule other than that on languages has to read the text."""
    return (possible & ~LANGUAGE) | (notice(before, behind, possible, others) & LANGUAGE)


@pytest.mark.parametrize("arm", ARMS)
@pytest.mark.parametrize("name", VOCABULARIES)
def test_the_sieve_rules_out_nothing_that_a_rule_would_hold(arms, name, arm, monkeypatch):
    draw = random.Random(f"{name} {arm}")
    for _ in range(12):
        rows = random_rows(draw, name)
        swapped, ledger = arms[name, arm](rows, first_row=0)
        with monkeypatch.context() as patched:
            patched.setattr(exemptions, "notice", notice_everything)
            expected, by_text = arms[name, arm](rows, first_row=0)
        for word in np.flatnonzero(ledger.outcome != by_text.outcome):
            row = rows[ledger.position[word] // rows.shape[1]]
            outcomes = OUTCOMES[ledger.outcome[word]], OUTCOMES[by_text.outcome[word]]
            pytest.fail(f"{outcomes} in {decoded(VOCABULARIES[name], row)!r}")
        assert np.array_equal(swapped, expected)


@pytest.mark.parametrize("text", COORDINATIONS)
def test_a_coordination_is_left_wherever_a_row_cuts_it(arms, text):
    for name, tokenizer in VOCABULARIES.items():
        ids = tokenizer.encode(f"x x {text} x x")
        for arm in ARMS:
            for cut in range(1, len(ids)):
                for row in (ids[:cut], ids[cut:]):
                    _, ledger = arms[name, arm](np.array([row], np.uint16), first_row=0)
                    assert not ledger.swapped.any(), (name, arm, tokenizer.decode(row))


def test_a_row_of_one_token_is_left(arms):
    for name, tokenizer in VOCABULARIES.items():
        rows = np.arange(len(tokenizer), dtype=np.uint16)[:, np.newaxis]
        swapped, ledger = arms[name, "swap"](rows, first_row=0)
        assert np.array_equal(swapped, rows)
        assert (ledger.counts["occurrences"] == ledger.counts["skipped_row_edge"]).all()
