"""What each intervention makes of sentences, and what must hold for all of them."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import interventions.exemptions
import interventions.gendered_words
from foundation import UserError
from interventions import INTERVENTIONS, SKIP_REASONS, load_intervention
from interventions.contractions import means_has
from interventions.intervention import identity_of
from sample_corpus import CHANGED, sample_rows, word_tokenizer
from test_vocabulary import END, byte_level_tokenizer, decoded

TOKENIZER = word_tokenizer()
SAMPLE = sample_rows(TOKENIZER)
PUBLISHED = "king \t queen \nqueen\tking\nmr. \t mrs. \nmrs.\tmr.\nmiss sir\nhe\tshe\nuncle\taunt\n"
PRONOUN = re.compile(r"\b(he|him|his|himself|she|her|hers|herself)\b", re.IGNORECASE)
PLACEBO = re.compile(r"\b(in|on|with|for|by|at)\b", re.IGNORECASE)
FEMININE = {"she", "her", "hers", "herself"}


@pytest.fixture(scope="module", autouse=True)
def published_list(tmp_path_factory):
    path = tmp_path_factory.mktemp("sources") / "generalized_swaps.txt"
    path.write_text(PUBLISHED)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(interventions.gendered_words, "fetch", lambda name: path)
        patch.setenv("XDG_CACHE_HOME", str(path.parent))
        yield


def load(name, **options):
    return load_intervention(name, tokenizer=TOKENIZER, **{"sample": SAMPLE} | options)


@pytest.fixture(scope="module")
def arms(published_list):
    return {name: load(name) for name in INTERVENTIONS}


def rows_of(*texts):
    ids = [TOKENIZER.encode(text) for text in texts]
    end = TOKENIZER.encode(END)
    return np.array([row + end * (max(map(len, ids)) - len(row)) for row in ids], np.uint16)


def text_after(arm, text):
    rows, _ = arm(rows_of(f"x{text} x{END}"), first_row=0)
    return decoded(TOKENIZER, rows[0])[1 : -len(f" x{END}")]


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("none", " he saw her", " he saw her"),
        ("masculine_to_feminine", " he saw her; his is his.", " she saw her; hers is hers."),
        ("feminine_to_masculine", " she told her.", " he told him."),
        ("feminine_to_masculine", " they liked her garden.", " they liked his garden."),
        ("feminine_to_masculine", " the boat is hers", " the boat is his"),
        ("swap", " he saw her, and she liked his garden.", " she saw him, and he liked her garden."),
        ("neutral", " he saw her.", " they saw them."),
        ("neutral", " he is late. Is she? she has his keys.", " they are late. Are they? they have their keys."),
        ("neutral", " he isn't here; the king is; she doesn't", " they aren't here; the king is; they don't"),
        ("neutral", " he's late and she’s been ill.", " they're late and they’ve been ill."),
        ("neutral", " x who is she? x nor was he.", " x who are they? x nor were they."),
        ("neutral", " x does he? x isn't she? x has\nhe x", " x do they? x aren't they? x have\nthey x"),
        ("neutral", " x it is she who x", " x it is they who x"),
        ("neutral", " x it was he that was late", " x it was they that was late"),
        ("neutral", " he never was; she also just has", " they never were; they also just have"),
        ("neutral", " x where's he been? x who’s she?", " x where've they been? x who’re they?"),
        ("neutral", " he’s never got it; it's hers, he says.", " they’ve never got it; it's theirs, they says."),
        ("swap", " (she/her/hers) (he/him/his)", " (he/him/his) (she/her/hers)"),
        ("masculine_to_feminine", " his but recently late king; his .NET x", " her but recently late king; her .NET x"),
        ("masculine_to_feminine", " it was his.The king told him.Then x", " it was hers.The king told her.Then x"),
        ("masculine_to_feminine", " x 3 He told him 4 He was", " x 3 She told her 4 She was"),
        (
            "masculine_to_feminine",
            " by He et al. (7), by He, K., Ma, L.; he, she, it",
            " by He et al. (7), by He, K., Ma, L.; he, she, it",
        ),
        ("gendered_words", " the KING himself is HERS", " the QUEEN herself is HIS"),
        (
            "masculine_to_feminine",
            " a king of his told him; one letter of his in x",
            " a king of hers told her; one letter of hers in x",
        ),
        ("masculine_to_feminine", " _He_ saw _his_ boat; heʼs *his*.", " _She_ saw _her_ boat; sheʼs *hers*."),
        ("pronouns_and_titles", " Mr. and Mrs. x, Sir or Madam, Mr x", " Mr. and Mrs. x, Sir or Madam, Ms x"),
        ("gendered_words", " he met the king's aunt.", " she met the queen's aunt."),
        ("gendered_words", " the uncle of Mr. and she miss her.", " the aunt of Mrs. and he miss him."),
        ("gendered_words", " the king or queen; Mr. and Mrs. x", " the queen or king; Mr. and Mrs. x"),
        ("pronouns_and_titles", " Mr Smith saw his uncle.", " Ms Smith saw her uncle."),
        ("drop", " he saw her", " he saw her"),
    ],
)
def test_sentences_become_what_the_arm_says(arms, name, text, expected):
    assert text_after(arms[name], text) == expected


def test_every_arm_says_in_a_sentence_what_it_did_and_names_itself_apart(arms):
    sentences = [arm.sentence for arm in INTERVENTIONS.values()]
    assert len(set(sentences)) == len(sentences)
    assert all(sentence.endswith(".") for sentence in sentences)
    assert [arm.name for arm in arms.values()] == list(INTERVENTIONS)


def test_all_ledgers_have_the_same_columns_of_the_same_types(arms):
    rows = rows_of(f" he x his x in x{END} x he x ")
    ledgers = [arm(rows, first_row=0)[1] for arm in arms.values()]
    for ledger in ledgers:
        skipped = [f"skipped_{reason}" for reason in SKIP_REASONS]
        assert list(ledger.counts.columns) == ["form", "replacement", "occurrences", "swapped", *skipped]
        assert ledger.counts.dtypes.equals(ledgers[0].counts.dtypes)


def test_none_changes_nothing(arms):
    same, ledger = arms["none"](SAMPLE, first_row=0)
    assert np.array_equal(same, SAMPLE)
    assert same.dtype == SAMPLE.dtype
    assert not np.shares_memory(same, SAMPLE)
    assert not ledger.swapped.any()


def test_drop_changes_no_token_and_unlearns_the_pronouns(arms):
    rows = rows_of(" the king said that he saw her house .")
    same, ledger = arms["drop"](rows, first_row=0)
    assert np.array_equal(same, rows)
    assert [decoded(TOKENIZER, rows[ledger.unlearned][k : k + 1]) for k in range(2)] == [" he", " her"]
    assert ledger.unlearned.sum() == ledger.swapped.sum() == 2


def test_only_drop_unlearns_anything(arms):
    for name, arm in arms.items():
        assert (arm(SAMPLE[:4], first_row=0)[1].unlearned is not None) == (name == "drop")


def pronouns(row):
    return [word.lower() for word in PRONOUN.findall(decoded(TOKENIZER, row))]


def test_balance_swaps_all_of_a_document_or_nothing_and_half_of_all_documents(arms):
    rows = rows_of(*[f"x he saw her.{END} he told him.{END}"] * 400)
    swapped, ledger = arms["balance"](rows, first_row=0)
    texts = [decoded(TOKENIZER, row).removeprefix("x").split(END)[:2] for row in swapped]
    assert {first for first, _ in texts} == {" he saw her.", " she saw him."}
    assert {second for _, second in texts} == {" he told him.", " she told her."}
    shares = [np.mean([pair[k].startswith(" she") for pair in texts]) for k in (0, 1)]
    assert shares == pytest.approx([0.5, 0.5], abs=0.1)
    both = np.mean([pair[0].startswith(" she") and pair[1].startswith(" she") for pair in texts])
    assert both == pytest.approx(0.25, abs=0.08)
    totals = ledger.counts.sum(numeric_only=True)
    assert totals["skipped_not_drawn"] == totals["occurrences"] - totals["swapped"]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.sampled_from([" he", " she", " him.", " her.", " his", " x", " himself", END]), max_size=30))
def test_shuffled_keeps_how_many_of_each_gender_a_row_has(words):
    rows = rows_of("".join([" x", *words, " x"]), " x he x she x he x")
    shuffled, ledger = SHUFFLED(rows, first_row=0)
    for before, after in zip(rows, shuffled, strict=True):
        number = [sum(word in FEMININE for word in pronouns(row)) for row in (before, after)]
        assert number[0] == number[1]
        assert len(pronouns(before)) == len(pronouns(after))
    assert np.array_equal(shuffled[~ledger.swapped], rows[~ledger.swapped])


SHUFFLED = load_intervention("shuffled", tokenizer=TOKENIZER, reads_her=type("Him", (), {
    "identity": "him", "facts": {}, "__call__": lambda self, rows, matches: np.ones(len(matches), bool)
})())  # fmt: skip


def test_shuffled_deals_each_pronoun_either_gender():
    rows = rows_of(*[" x he x she x he x she x"] * 200)
    shuffled, _ = SHUFFLED(rows, first_row=0)
    firsts = [pronouns(row)[0] for row in shuffled]
    assert np.mean([word == "she" for word in firsts]) == pytest.approx(0.5, abs=0.12)


def test_placebo_exchanges_as_many_words_as_masculine_pronouns_are_swapped(arms):
    _, masculine = arms["masculine_to_feminine"](SAMPLE, first_row=0)
    changed, ledger = arms["placebo"](SAMPLE, first_row=0)
    expected, rate = masculine.counts["swapped"].sum(), arms["placebo"].facts["rate"]
    assert 0 < rate < 1
    assert ledger.counts["swapped"].sum() == pytest.approx(expected, abs=4 * np.sqrt(expected * (1 - rate)))
    for before, after in zip(SAMPLE, changed, strict=True):
        before, after = decoded(TOKENIZER, before), decoded(TOKENIZER, after)
        assert PLACEBO.sub("_", before) == PLACEBO.sub("_", after)


@pytest.mark.parametrize(
    "after",
    [
        *(
            " been ill",
            " got it",
            " gone",
            " become king",
            " done it",
            " made it",
            " taken it",
            " seen it",
            " given it",
        ),
        *(
            " written a book",
            " eaten.",
            " left home",
            " never been",
            " just arrived",
            " already finished",
            " lived here",
        ),
        *(" told me", " called the police", " decided to go", " recently visited Rome", " always wanted it", " won"),
        *(" finally really got", " used the car", " forgotten\nit"),
    ],
)
def test_an_s_is_has_before_a_participle_of_the_perfect(after):
    assert means_has(after)


@pytest.mark.parametrize(
    "after",
    [
        *(" tired", " never tired", " beenish", " not", "been", ", been", " left-handed", " left alone", " called Ann"),
        *(
            " married",
            " interested in it",
            " written by hand",
            " seen as a king",
            " told to go",
            " based here",
            " late",
        ),
        *(" named the king’s", " just tired", " used to it", " going", " a king", ""),
    ],
)
def test_an_s_is_is_before_all_else(after):
    assert not means_has(after)


@pytest.mark.parametrize("name", ["balance", "shuffled", "placebo"])
def test_chance_depends_on_the_place_in_the_corpus_and_not_on_the_batch(arms, name):
    rows = SAMPLE[:12]
    whole, ledger = arms[name](rows, first_row=10**9)
    assert 0 < ledger.counts["swapped"].sum() < ledger.counts["occurrences"].sum()
    for start in (9, 4, 0):
        part, own = arms[name](rows[start : start + 4], first_row=10**9 + start)
        assert np.array_equal(part, whole[start : start + 4])
        assert np.array_equal(own.swapped, ledger.swapped[start : start + 4])
    assert not np.array_equal(arms[name](rows, first_row=3)[1].swapped, ledger.swapped)


def test_an_identity_is_of_what_tables_hold_and_not_of_their_order():
    one, other = {"pairs": ["he", "she"], "learned": True}, {"learned": True, "pairs": ["he", "she"]}
    same = {identity_of("swap", vocabulary="v", tables=tables) for tables in (one, other)}
    assert len(same) == 1
    for changed in (one | {"learned": False}, one | {"pairs": ["she", "he"]}):
        assert identity_of("swap", vocabulary="v", tables=changed) not in same
    assert identity_of("swap", vocabulary="w", tables=one) not in same


LEARNING = [name for name, arm in INTERVENTIONS.items() if arm.learns]


@pytest.mark.parametrize("name", LEARNING)
def test_an_arm_that_learns_from_the_corpus_asks_for_a_sample(name):
    with pytest.raises(UserError, match=f"intervention={name} learns from the corpus"):
        load_intervention(name, tokenizer=TOKENIZER)


@pytest.mark.parametrize("name", [name for name in LEARNING if name != "placebo"])
def test_too_small_a_sample_is_refused(name):
    with pytest.raises(UserError, match=r"the sample of 2 rows holds .* take more rows"):
        load(name, sample=SAMPLE[:2])


def test_a_sample_without_the_words_of_the_placebo_is_refused():
    with pytest.raises(UserError, match="the sample of 1 rows holds none that could be"):
        load("placebo", sample=rows_of(" he saw"))


def test_an_unknown_name_is_answered_with_the_nearest():
    with pytest.raises(UserError, match="did you mean masculine_to_feminine") as error:
        load("masculine_to_feminin")
    assert all(name in str(error.value) for name in INTERVENTIONS)
    assert "\n" not in str(error.value)


def test_an_unknown_name_like_no_other_is_answered_with_all():
    with pytest.raises(UserError, match=r"intervention=q is unknown; known are none, masculine_to_feminine, "):
        load("q")


def test_the_identity_tells_arms_and_tokenizers_apart(arms):
    other = byte_level_tokenizer(320)
    all_arms = [*arms.values(), *(load_intervention(name, tokenizer=other) for name in ("none", "drop"))]
    assert len({arm.identity for arm in all_arms}) == len(INTERVENTIONS) + 2
    assert all(len(bytes.fromhex(arm.identity)) == 32 for arm in all_arms)


@pytest.mark.parametrize("name", INTERVENTIONS)
def test_the_seed_is_a_part_of_the_identity_where_something_is_drawn(name):
    first, second = (load(name, seed=seed).identity for seed in (0, 1))
    assert (first != second) == (name in ("balance", "shuffled", "placebo"))
    options = {"fraction": 0.5, "unit": "row"}
    first, second = (load(name, seed=seed, **options).identity for seed in (0, 1))
    assert (first != second) == (name != "none")


@pytest.mark.parametrize("name", INTERVENTIONS)
def test_an_arm_accounts_for_every_word_in_capitals_among_others_that_are_not(name, arms):
    rows = rows_of(*(f"then I said {word.upper()} was there, he said." for word in CHANGED))
    changed, ledger = arms[name](rows, first_row=0)
    assert changed.shape == rows.shape
    assert len(ledger.outcome) == ledger.counts["occurrences"].sum()


def test_the_identity_covers_the_rules(monkeypatch):
    before = load("masculine_to_feminine").identity
    monkeypatch.setattr(interventions.exemptions, "hash_of_source", lambda *names: "other rules")
    assert load("masculine_to_feminine").identity != before
