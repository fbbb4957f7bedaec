"""Learning from the corpus which her is him."""

import math

import numpy as np
import pytest

import interventions.her.corpus_reader as her_module
from conftest import edited_source
from interventions import CorpusReader
from interventions.her import Accuracy, share_by_expectation_maximisation
from interventions.her.classes import GROUPS, OBJECT_BETWEEN, VERBS
from interventions.her.context import _ending, _kind, company_of_words, text_hash, token_parts
from interventions.her.features import bucket
from interventions.her.words import Words, words_around
from interventions.matching import Matcher
from interventions.vocabulary import read_vocabulary
from sample_corpus import sample_rows, word_tokenizer
from test_vocabulary import END, byte_level_tokenizer

TOKENIZER = word_tokenizer()
VOCABULARY = read_vocabulary(TOKENIZER)
SAMPLE = sample_rows(TOKENIZER)


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


def fitted(sample=SAMPLE):
    return CorpusReader.fitted(sample, tokenizer=TOKENIZER, vocabulary=VOCABULARY)


def is_object(reader, text):
    rows = np.array([TOKENIZER.encode(text)], np.uint16)
    matches = Matcher(["her", "Her"], tokenizer=TOKENIZER, vocabulary=VOCABULARY).find(rows)
    return reader(rows, matches).tolist()


def test_it_learns_from_masculine_and_other_pronouns_what_her_is():
    reader = fitted()
    assert is_object(reader, "x They saw her garden . x We met her in the boat and told her to stay") == [
        False,
        True,
        True,
    ]
    assert is_object(reader, f"x They saw her{END}x") == [True]
    assert reader.accuracy.accuracy > 0.95
    assert reader.accuracy.n > 20
    assert reader.accuracy.ci_low < reader.accuracy.accuracy <= reader.accuracy.ci_high
    assert reader.accuracy.her_possessive == pytest.approx(0.5, abs=0.05)


def test_the_same_sample_gives_the_same_reader_from_the_cache_and_anew(tmp_path, monkeypatch):
    first = fitted()
    assert len(list((tmp_path / "pythia-counterfactual" / "her").glob("*.npz"))) == 1
    monkeypatch.setattr(her_module, "_fit", None)
    again = fitted()
    assert np.array_equal(again.weights, first.weights)
    assert np.array_equal(again.company, first.company)
    assert (again.shift, again.accuracy, again.identity) == (first.shift, first.accuracy, first.identity)
    monkeypatch.undo()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "other"))
    assert np.array_equal(fitted().weights, first.weights)


def test_a_reader_that_other_code_fitted_is_not_taken_and_one_that_learned_otherwise_is_another(monkeypatch):
    first = fitted()
    with edited_source("interventions/her/features.py"):
        learn = her_module.learn
        monkeypatch.setattr(her_module, "learn", lambda *given: 2 * learn(*given))  # what the edit is taken to do
        again = fitted()
    assert not np.array_equal(again.weights, first.weights)
    assert again.identity != first.identity


def test_another_sample_is_another_reader():
    assert fitted(SAMPLE[:-1]).identity != fitted().identity


def test_the_estimate_of_the_share_is_that_of_the_mixture_it_is_given():
    rng = np.random.default_rng(0)
    possessive = rng.random(20_000) < 0.3
    evidence = rng.normal(np.where(possessive, 1.5, -1.5), 1.5)  # log-odds 2 * 1.5 / 1.5**2 * x at even shares
    log_odds = 2 * 1.5 / 1.5**2 * evidence + math.log(0.8 / 0.2)
    assert share_by_expectation_maximisation(log_odds, 0.8) == pytest.approx(0.3, abs=0.01)
    assert share_by_expectation_maximisation(np.zeros(0), 0.8) == 0.8


def test_accuracies_are_those_worked_by_hand():
    log_odds = np.array([2.0, 1.0, -1.0, -2.0, 0.5], np.float32)
    possessive = np.array([True, True, False, False, False])
    found = her_module._accuracy(log_odds, possessive, shift=-1.5, her_possessive=0.6, examples=np.arange(8) < 6)
    assert found == Accuracy(
        n=5,
        accuracy=0.8,
        ci_low=pytest.approx(0.3755, abs=1e-4),  # Wilson's interval of 4 of 5
        ci_high=pytest.approx(0.9638, abs=1e-4),
        always_his=0.4,
        of_his=0.5,
        of_him=1.0,
        at_rate_of_her=pytest.approx(0.7),
        her_possessive=0.6,
        examples=8,
        examples_possessive=0.75,
    )


@pytest.mark.parametrize("size", [257, 300, 420])
def test_words_are_the_same_however_the_vocabulary_cuts_them(size):
    tokenizer = byte_level_tokenizer(size)
    vocabulary = read_vocabulary(tokenizer)
    row = np.array(tokenizer.encode(f"x Quite,her  own {END}y"))
    (match,) = Matcher(["her"], tokenizer=tokenizer, vocabulary=vocabulary).find(row[None]).position
    stop = match + len(tokenizer.encode("her"))
    start, stop = np.array([match, match - 1, len(row) - 1]), np.array([stop, match - 1, len(row)])
    seen = words_around(Words(row, len(row), token_parts(vocabulary)), start, stop).word
    assert seen.T.tolist() == [
        [text_hash("own"), 1, 1, text_hash(",")],
        [text_hash(","), text_hash("her"), text_hash("own"), text_hash("quite")],
        [2, 2, 2, 1],
    ]


ENDED, CUT, OPENING, QUOTED = 1, 2, 3, 4


def seen_around(text, *, tokenizer=TOKENIZER):
    """What stands behind and before the last her of a text: words, or signs for what is none."""
    vocabulary = read_vocabulary(tokenizer)
    row = np.array(tokenizer.encode(text))
    matches = Matcher(["her"], tokenizer=tokenizer, vocabulary=vocabulary).find(row[None])
    start, stop = matches.position[-1:], matches.position[-1:] + matches.length[-1:]
    window = words_around(Words(row, len(row), token_parts(vocabulary)), start, stop)
    return window.word[:, 0].tolist()


def words(*spelled):
    return [word if isinstance(word, int) else text_hash(word) for word in spelled]


@pytest.mark.parametrize("size", [257, 420])
@pytest.mark.parametrize(
    "text",
    [
        "x told her old aunt today.",
        "x told her\nold aunt today.",
        "x told\nher old\naunt today.",
        "x told her \n  old aunt today.",
        "x told her\r\n\told aunt today.",
        "> x told\n> her\n> old aunt\n> today.",
        ">> x told her\n>> old aunt today.",
        "# x told her\n# old aunt today.",
        "  // x told her\n  // old aunt today.",
        "x told  her   old aunt today.",
        "x told *her* old **aunt** today.",
        "x told her _old_ aunt today.",
    ],
)
def test_a_line_end_and_what_marks_a_line_or_a_word_are_blank(text, size):
    assert seen_around(text, tokenizer=byte_level_tokenizer(size)) == words("old", "aunt", "today", "told")


@pytest.mark.parametrize("size", [257, 420])
@pytest.mark.parametrize(
    "behind",
    [
        *("\n\nold aunt", "\n \nold aunt", " \r\n\r\nold aunt", "\n>\n> old aunt", "\n\n\n  old", END, "\n* old aunt"),
        *(
            ". old aunt",
            ".\nold aunt",
            "? Old aunt",
            '!" she said',
            ") old aunt",
            "; old aunt",
            '" old aunt',
            "' old aunt",
        ),
    ],
)
def test_an_empty_line_and_what_closes_a_phrase_end_the_text(behind, size):
    assert seen_around("x told her" + behind, tokenizer=byte_level_tokenizer(size)) == words(
        ENDED, ENDED, ENDED, "told"
    )


@pytest.mark.parametrize(
    "before", ["x told.\n\n", "x told.\n  \n", f"x told{END}", "x told\r\n\r\n", "> x told\n>\n> "]
)
def test_an_empty_line_before_it_begins_the_text(before):
    assert seen_around(before + "her old aunt came") == words("old", "aunt", "came", ENDED)


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ('x told her "old" aunt', (OPENING, "old", ENDED, "told")),
        ("x told her “old” aunt", (OPENING, "old", ENDED, "told")),
        ("x told her\n'old' aunt", (OPENING, "old", ENDED, "told")),
        ('x told "her" aunt', (ENDED, ENDED, ENDED, QUOTED)),
        ("x told 'her' aunt", (ENDED, ENDED, ENDED, QUOTED)),
        ("x told “her” aunt", (ENDED, ENDED, ENDED, QUOTED)),
        ('x told "her aunt"', ("aunt", ENDED, ENDED, '"')),
        ("x told her", (CUT, CUT, CUT, "told")),
        ("x told her—old aunt", ("-", "old", "aunt", "told")),
    ],
)
def test_quotation_marks_before_a_word_are_told_from_those_behind_one(text, seen):
    tokenizer = byte_level_tokenizer(420, sentences=["x “y” — z—y z “x” y—“z”"] * 9)
    assert seen_around(text, tokenizer=tokenizer) == words(*seen)


@pytest.mark.parametrize(
    ("word", "whole", "kind", "ending"),
    [
        ("their", True, "~", "~eir"),
        ("the", True, "~", "the"),
        ("the", False, "~", "~the"),
        ("bored", True, "~ed", "~red"),
        ("used", True, "~ed", "used"),
        ("red", True, "~", "red"),
        ("red", False, "~ed", "~red"),
        ("boats", True, "~s", "~ats"),
        ("garden", True, "~", "~den"),
        ("7th", True, "0", "0"),
        (".", True, ".", "."),
        ("", True, "", ""),
    ],
)
def test_a_word_is_known_by_its_kind_and_its_ending(word, whole, kind, ending):
    assert (_kind(word, whole), _ending(word, whole)) == (kind, ending)


def test_every_word_of_the_lists_is_in_one_group_of_them():
    listed = [word for table in (VERBS, GROUPS) for group in table.values() for word in group.split()]
    assert len(listed) == len(set(listed))
    assert {group for pair in OBJECT_BETWEEN for group in pair} <= {*VERBS, *GROUPS}


TAUGHT = (
    *(
        "They helped me quickly and left .",
        "They like him greatly .",
        "He met them gladly , they said .",
        "She saw me run .",
        "They let us play .",
    ),
    *("She gave him three cups .", "They sent me many cups .", "We ask them to stay .", "He took us home ."),
    *("They went with him yesterday .", "He told them so .", "He told me that it rained .", "We met him ."),
    *("They like his newly built boat .", "He met their aunt .", "She saw my run of luck .", "They let our house ."),
    *("She gave his cup away .", "He told their aunt .", "We know my brothers .", "He made his bed ."),
    *("They made our house nice .", "We went with his aunt .", "He took their boats home ."),
    *(
        "They elected him at last .",
        "He told them what he knew .",
        "She is telling him how it was .",
        "We are telling them .",
    ),
    *("We like her .", "They met her aunt .", "She told her so .", "We sold her house .", "They told our story ."),
)


@pytest.fixture(scope="module")
def taught():
    """Learned from a few sentences, again and again."""
    ids = TOKENIZER.encode(END.join(TAUGHT * 40) + END)
    ids += TOKENIZER.encode(END) * (-len(ids) % 64)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(her_module, "_read", lambda path: None)
        return fitted(np.array(ids, np.uint16).reshape(-1, 64))


@pytest.mark.parametrize(
    ("text", "object_"),
    [
        ("They recommend her highly .", True),
        ("He handled her easily and left .", True),
        ("He handled her\neasily and left .", True),
        ("They admire her newly mown lawn .", False),
        ("We sent her five plates .", True),
        ("They went with her today .", True),
        ("He told her stories .", True),
        ("You were telling her lies again .", True),
        ("He told her story .", False),
        ("They made her president .", True),
        ("Members elected her mayor of the town .", True),
        ("She wrote 'her' on the wall .", True),
        ('He crossed out "her" and sighed .', True),
        ("He wrote “her” there .", True),
        ("We met her\n\naunt", True),
        ("We met her\naunt .", False),
        ("We met\nher aunt .", False),
        ("> We met her\n> aunt .", False),
    ],
)
def test_words_never_seen_are_read_as_the_others_of_their_class(taught, text, object_):
    assert is_object(taught, f"x{END}{text}{END}") == [object_]


def test_a_word_keeps_the_company_that_it_is_seen_in():
    parts = token_parts(VOCABULARY)
    rows = np.array([TOKENIZER.encode(" the boat of" * 20 + " they jump to" * 20)], np.uint16)
    company = company_of_words(rows, parts)
    boat, jump = bucket(np.array([text_hash(word) for word in ("boat", "jump")]))
    assert company[:, boat].tolist()[:4:2] == [1, 4]  # behind "the a an this", before "of in for ..."
    assert company[:, jump].tolist()[:4:2] == [5, 5]  # behind "they we you ...", before "to"
