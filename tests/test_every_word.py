"""Every word that an independent regular expression finds is swapped or left for a reason, whatever decorates it."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interventions import OUTCOMES, load_intervention
from sample_corpus import word_tokenizer
from test_rewrite import ReadsHerByTheNextLetter
from test_vocabulary import END, byte_level_tokenizer

TOKENIZERS = {"words": word_tokenizer(), "pieces": byte_level_tokenizer(290, added=("   ", "  "))}
PRONOUN = re.compile(
    r"(?<![^\W_])(?<![^\W_]_)(?<![^\W_]__)(?:[hH]e|HE|[hH]im|HIM|[hH]is|HIS|[hH]imself|HIMSELF|[sS]he|SHE|[hH]er|HER|[hH]ers|HERS"
    r"|[hH]erself|HERSELF)(?![^\W_])(?!_{1,2}[^\W_])"
)
ARMS = ("swap", "masculine_to_feminine", "feminine_to_masculine", "drop", "neutral")

words = st.sampled_from(
    [
        case(word)
        for word in ("he", "him", "his", "himself", "she", "her", "hers", "herself")
        for case in (str.lower, str.title, str.upper)
    ]
)
decorations = st.sampled_from(
    [
        *(
            "{}",
            "*{}*",
            "**{}**",
            "_{}_",
            "__{}__",
            "“{}”",
            "‘{}’",
            '"{}"',
            "'{}'",
            "`{}`",
            "({})",
            "[{}]",
            "<b>{}</b>",
        ),
        *("$" + "{}", "@{}", "#{}", "self.{}", "{}.com", "http://{}.org/{}", "{}@{}.net", "{}()", "x[{}]", 'lang="{}"'),
        *("{}'s", "{}’s", "{}`s", "{}´s", "{}'d", "{}’ll", "{}-man", "self-{}", "{}/{}", "s/{}", "({})self", "[T]{}"),
        *(
            "{} or {}",
            "{} or\n{}",
            "{}, {} or they",
            "{} & {}",
            "{} Majesty",
            "{}\nRoyal Highness",
            "{} 57",
            "liquid {}",
        ),
        *(
            "{};",
            "{} = {};",
            "\\emph{{{}}}",
            "<{}>",
            "&{};",
            "~{}",
            "{}…",
            "—{}—",
            "{}\u00a0",
            "{}🦔",
            "{}\u200b",
            "¿{}?",
        ),
    ]
)
fragments = st.sampled_from(
    [
        "the",
        "sheds",
        "sherpa",
        "héros",
        "漢字",
        "that",
        "her_name",
        "he2",
        "and",
        ".",
        "\n",
        "\n\n",
        "  ",
        "\t",
        "   ",
        END,
        "…",
        "yo",
    ]
)
decorated = st.builds(
    lambda frame, one, two: frame.replace("{{", "{").replace("}}", "}").replace("{}", one, 1).replace("{}", two),
    decorations,
    words,
    words,
)
separators = st.sampled_from([" ", " ", " ", "\n", "  ", "\r\n", ", ", ". "])
texts = st.lists(st.tuples(decorated | fragments, separators).map("".join), max_size=12).map("".join)


@pytest.fixture(scope="module")
def arms():
    return {
        (name, arm): load_intervention(arm, tokenizer=tokenizer, reads_her=ReadsHerByTheNextLetter(tokenizer))
        for name, tokenizer in TOKENIZERS.items()
        for arm in ARMS
    }


@settings(max_examples=200, deadline=None)
@given(texts, st.sampled_from(list(TOKENIZERS)), st.sampled_from(ARMS))
def test_what_is_found_is_swapped_or_left_for_a_reason(arms, text, name, arm):
    tokenizer = TOKENIZERS[name]
    rows = np.array([tokenizer.encode(f"{END}{text}{END}")], np.uint16)
    _, ledger = arms[name, arm](rows, first_row=0)
    found = [word.group() for part in text.split(END) for word in PRONOUN.finditer(part)]
    one_way = {
        "masculine_to_feminine": ("he", "him", "his", "himself"),
        "feminine_to_masculine": ("she", "her", "hers", "herself"),
    }
    expected = sorted(word for word in found if arm not in one_way or word.lower() in one_way[arm])
    counts = ledger.counts[ledger.counts["form"].str.fullmatch(PRONOUN.pattern)]
    assert sorted(counts["form"].repeat(counts["occurrences"])) == expected
    assert (counts[list(OUTCOMES)].sum(axis=1) == counts["occurrences"]).all()


@pytest.mark.parametrize("mark", ["'", "’", "‘", "`", "´", "ʼ", "ʻ", "′", "＇"])
def test_an_apostrophe_of_any_kind_ends_a_word(arms, mark):
    rows = np.array([TOKENIZERS["words"].encode(f"x {word}{mark}s late x") for word in ("he",)], np.uint16)
    _, ledger = arms["words", "masculine_to_feminine"](rows, first_row=0)
    assert ledger.counts["swapped"].tolist() == [1]
