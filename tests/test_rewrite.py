"""The swap in token space against a swap on characters, which finds words with `re` and asks the rules about all."""

import re
import unicodedata
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from interventions import OUTCOMES, SKIP_REASONS, load_intervention
from interventions.exemptions import outcome_of
from interventions.flags import LANGUAGE
from interventions.independence import stands_independently
from interventions.rules.beside import Beside
from interventions.sieve import alerts
from interventions.surroundings import LOOK_BYTES
from interventions.vocabulary import read_vocabulary
from test_vocabulary import END, byte_level_tokenizer, decoded

BYTES, SMALL, LARGE = "one token a byte", "several tokens a pronoun", "one token a pronoun, runs of spaces"
TOKENIZERS = {
    BYTES: byte_level_tokenizer(257),
    SMALL: byte_level_tokenizer(280),
    LARGE: byte_level_tokenizer(700, added=("   ", "  ")),
}


class ReadsHerByTheNextLetter:
    """her is an object unless a space and a letter follow it: the rule of `her` below, on tokens."""

    identity = "stub"
    facts: dict = {}  # noqa: RUF012

    def __init__(self, tokenizer):
        self.vocabulary = read_vocabulary(tokenizer)

    def __call__(self, rows, matches):
        answers = []
        for position, length in zip(matches.position, matches.length, strict=True):
            row, start = divmod(int(position), rows.shape[1])
            after, _ = self.vocabulary.text_after(rows[row], start + int(length), enough=8)
            answers.append(not (after[:1] == " " and after[1:2].isalpha()))
        return np.array(answers, bool)


FEMININE = {"he": "she", "him": "her", "himself": "herself", "his": "her"}
MASCULINE = {"she": "he", "her": "his", "hers": "his", "herself": "himself"}
ARMS = {
    "masculine_to_feminine": FEMININE,
    "feminine_to_masculine": MASCULINE,
    "swap": FEMININE | MASCULINE,
}
SWAPS = {
    (name, arm): load_intervention(arm, tokenizer=TOKENIZERS[name], reads_her=ReadsHerByTheNextLetter(TOKENIZERS[name]))
    for name in TOKENIZERS
    for arm in ARMS
}
WORDS = (
    *("is", "are", "was", "were", "be", "been", "has", "have", "had", "do", "does", "did", "could", "should", "must"),
    *("shall", "to", "from", "that", "who", "whom", "which", "when", "while", "because", "but", "than"),
)
MARKS = "\u02b9\u02bb\u02bc\u02bd\ua78c"  # letters that are typed as apostrophes
FORMS = re.compile(r"himself|herself|hers|his|him|her|she|he", re.IGNORECASE)
APOSTROPHES = "\u02b9\u02bb\u02bc\u02bd\ua78c"  # letters to Unicode


@dataclass(frozen=True)
class Occurrence:
    start: int
    form: str
    replacement: str
    tokens: int
    reason: str | None


def cased_like(form: str, word: str) -> str | None:
    for case in (str.lower, str.capitalize, str.upper):
        if form == case(form):
            return case(word)
    return None


def side(text: str, *, cut: bool) -> str | None:
    """Why a word cannot be told from what is beside it; `text` begins at the word."""
    text = text.strip("\ufffd") if cut else text  # parts of a character at the row's edge
    if text == "" or re.fullmatch(r"[\u2010\u2011\u00ad-]|_{1,7}", text):
        return "row_edge" if cut else None
    return "compound" if re.match(r"[\u2010\u2011\u00ad-][\w\u0301]", text) else None


def whole(text: str) -> bool:
    """Whether a word ends where `text` goes on; underscores belong to a word behind them, up to seven."""
    rest = text.lstrip("_")
    letter = rest[:1].isalnum() or unicodedata.category(rest[:1] or " ").startswith("M")
    return not letter or rest[0] in APOSTROPHES or len(text) - len(rest) > 7


def his(before: str, after: str, *, cut: bool) -> str | None:
    """her, hers, or None where it depends on what lies beyond the row."""
    after = after.rstrip("\ufffd") if cut else after
    known = stands_independently(after, ended=not cut, preceding=before[-90:])
    return None if known is None else "hers" if known else "her"


def her(after: str, *, cut: bool) -> str | None:
    """his or him, by the rule of the stub."""
    return "his" if after[:1] == " " and after[1:2].isalpha() else "him"


def tells_of_a_language(before: str, after: str, name: str) -> bool:
    """Whether a neighbour may be a Spanish participle, or is one token, as a word of another language has to be."""
    words = re.search(r" ?[^\W\d_]+(?= \Z)", before), re.match(r" [^\W\d_]+", after)
    return any(found and len(TOKENIZERS[name].encode(found[0])) == 1 for found in words) or bool(
        re.match(r" \w+o(?!\w)", after)
    )


def exemption(form: str, before: str, after: str, *, lead: str, cuts: tuple[bool, bool], name: str) -> str | None:
    """The first rule that holds on the text of the document within the row."""
    far = before.removesuffix(lead)
    cut_before, cut_after = cuts[0] and len(far.encode()) <= LOOK_BYTES, cuts[1] and len(after.encode()) <= LOOK_BYTES
    beside = Beside(
        before=far.encode()[-LOOK_BYTES:].decode(errors="ignore").lstrip("\ufffd") + lead,
        after=after.encode()[:LOOK_BYTES].decode(errors="ignore").rstrip("\ufffd"),
        cut_before=cut_before,
        cut_after=cut_after,
    )
    (alert,) = alerts([form], [lead]).tolist()
    if not tells_of_a_language(before, after, name):
        alert &= ~LANGUAGE
    outcome = outcome_of(form, beside, noticed=alert)
    return OUTCOMES[outcome].removeprefix("skipped_") if outcome else None


def occurrences(text: str, name: str, arm: str = "masculine_to_feminine") -> list[Occurrence]:
    """All pronouns that the arm replaces in the text of one row, and what is to become of them."""
    found, offset = [], 0
    documents = text.split(END)
    for number, document in enumerate(documents):
        first, last = number == 0, number == len(documents) - 1
        for match in FORMS.finditer(document):
            form, before, after = match.group(), document[: match.start()], document[match.end() :]
            if form.lower() not in ARMS[arm] or not (whole(before[::-1]) and whole(after)):
                continue
            word = ARMS[arm][form.lower()]
            if cased_like(form, word) is None:
                continue
            spaces = len(before) - len(before.rstrip(" "))
            led = spaces % 3 == 1 if name == LARGE else spaces > 0
            sides = {side(before[::-1], cut=first), side(after, cut=last)}
            reason = "compound" if "compound" in sides else "row_edge" if "row_edge" in sides else None
            lead = "'" if cut_from_its_apostrophe(before, form, name) else " " * led
            if reason is None:
                reason = exemption(form, before, after, lead=lead, cuts=(first, last), name=name)
            if form.lower() in ("his", "her") and reason is None:
                choice = his(before, after, cut=last) if form.lower() == "his" else her(after, cut=last)
                if re.search(
                    {"his": r"(?<!\w)him\s?/ ?$", "her": r"(?<!\w)she\s?/ ?$"}[form.lower()], before, re.IGNORECASE
                ):
                    choice = {"his": "hers", "her": "him"}[form.lower()]
                reason = "row_edge" if choice is None else None
                word = choice or word
            replacement = cased_like(form, word)
            lengths = [len(TOKENIZERS[name].encode(lead + spelled)) for spelled in (form, replacement)]
            if reason is None and lengths[0] != lengths[1]:
                reason = "length"
            found.append(Occurrence(offset + match.start(), form, replacement, lengths[0], reason))
        offset += len(document) + len(END)
    return found


def cut_from_its_apostrophe(before: str, form: str, name: str) -> bool:
    """Whether "'she" is other tokens than "'" and "she", since a contraction could begin so."""
    whole, apostrophe, word = (TOKENIZERS[name].encode(text) for text in ("'" + form, "'", form))
    return before.endswith("'") and whole != apostrophe + word


def swapped_text(text: str, found: list[Occurrence]) -> str:
    for occurrence in reversed(found):
        if occurrence.reason is None:
            rest = text[occurrence.start + len(occurrence.form) :]
            text = text[: occurrence.start] + occurrence.replacement + rest
    return text


def counts_of(found: list[Occurrence]) -> list[tuple]:
    table: dict[tuple[str, str], list[int]] = {}
    for occurrence in found:
        row = table.setdefault((occurrence.form, occurrence.replacement), [0] * (2 + len(SKIP_REASONS)))
        row[0] += 1
        row[1 if occurrence.reason is None else 2 + list(SKIP_REASONS).index(occurrence.reason)] += 1
    return sorted((*words, *numbers) for words, numbers in table.items())


pronouns = st.sampled_from(
    [case(word) for word in (*FEMININE, *MASCULINE) for case in (str.lower, str.title, str.upper)]
)
connectors = st.sampled_from(
    [
        "or",
        " or",
        " nor",
        "/",
        " / ",
        " and/or",
        "OR",
        " Or",
        "s/",
        "(s)",
        " and",
        " (or",
        "&",
        ", or",
        "- or",
        " or\n",
        "s(",
    ]
)
titles = st.sampled_from(
    [" Majesty", " Royal Highness", " Grace", " Holiness.", " Royal", "ROYAL", " lordship", " MAJESTY", " most"]
)
fragments = st.sampled_from(
    ["sheds", "heuristic", "hertz", "br", "t", "himalaya", "history", "é", "\u0301", "漢", "ladder"]
)
marks = st.sampled_from(
    [
        *" .,;:!?()'\"’“—–-_/\n\t\u00a0\u2010\u00ad🦔@$=*<>[]{}#\\`~&+ʼ",
        "--",
        "__",
        "__________",
        "].",
        "://",
        "->",
        ".com",
        "  ",
        "   ",
        "    ",
        "'s",
        "\n\n",
        ".45",
        "7",
    ]
)
spaced = st.tuples(st.sampled_from([" ", " ", "  ", "\n", ""]), pronouns | fragments | st.sampled_from(WORDS)).map(
    "".join
)
strange = st.characters(categories=["L", "N", "P", "S", "Z"], exclude_characters="ſİıK\ufffd")
pieces = spaced | spaced | marks | connectors | titles | strange | st.just(END)
texts = st.lists(pieces, max_size=40).map("".join)


def _row(name: str, text: str) -> np.ndarray:
    return np.array([TOKENIZERS[name].encode(text + END)])


@st.composite
def rows_of_text(draw: st.DrawFn) -> tuple[str, np.ndarray]:
    """The name of a tokenizer, and text as rows of its tokens, cut wherever a row ends."""
    name, width = draw(st.sampled_from(list(TOKENIZERS))), draw(st.sampled_from([1, 3, 8, 21, 64]))
    # an apostrophe behind other marks, or a space, is one piece with them, and no contraction begins with it
    ids = TOKENIZERS[name].encode(re.sub(r"(?<=[^\w\t\n\u00a0])'(?=s)|(?<=_)'(?=s)", "’", draw(texts)))
    ids += TOKENIZERS[name].encode(END) * (-len(ids) % width)
    rows = np.array(ids, draw(st.sampled_from([np.uint16, np.int32, np.int64]))).reshape(-1, width)
    ends = [decoded(TOKENIZERS[name], row) for row in rows]
    assume(not any(a.endswith("'") and b.startswith("s") for a, b in pairwise(ends)))
    return name, rows


@settings(max_examples=300, deadline=None)
@example(("several tokens a pronoun", _row("several tokens a pronoun", "der he")), "masculine_to_feminine")
@given(rows_of_text(), st.sampled_from(list(ARMS)))
def test_the_swap_of_tokens_is_the_swap_of_the_text(case, arm):
    name, rows = case
    swapped, ledger = SWAPS[name, arm](rows, first_row=0)
    found = []
    for before, after in zip(rows, swapped, strict=True):
        text = decoded(TOKENIZERS[name], before)
        found += (row_found := occurrences(text, name, arm))
        assert decoded(TOKENIZERS[name], after) == swapped_text(text, row_found)
    assert list(ledger.counts.itertuples(index=False, name=None)) == counts_of(found)
    assert ledger.swapped.sum() == sum(occurrence.tokens for occurrence in found if occurrence.reason is None)


@settings(max_examples=100, deadline=None)
@given(rows_of_text(), st.sampled_from(list(ARMS)))
def test_nothing_changes_outside_the_mask(case, arm):
    name, rows = case
    original = rows.copy()
    swapped, ledger = SWAPS[name, arm](rows, first_row=0)
    assert np.array_equal(rows, original)
    assert (swapped.shape, swapped.dtype, ledger.swapped.shape) == (rows.shape, rows.dtype, rows.shape)
    assert np.array_equal(swapped[~ledger.swapped], rows[~ledger.swapped])


@settings(max_examples=100, deadline=None)
@given(rows_of_text(), st.sampled_from(["masculine_to_feminine", "feminine_to_masculine"]))
def test_a_second_swap_in_one_direction_finds_nothing_more_to_swap(case, arm):
    name, rows = case
    swapped, _ = SWAPS[name, arm](rows, first_row=0)
    again, ledger = SWAPS[name, arm](swapped, first_row=0)
    assert np.array_equal(again, swapped)
    assert not ledger.swapped.any()


@settings(max_examples=100, deadline=None)
@given(rows_of_text())
def test_swap_undoes_itself_where_forms_are_unambiguous(case):
    name, rows = case
    rows = rows[[not re.search(r"\bhis|\bher|him", decoded(TOKENIZERS[name], row), re.IGNORECASE) for row in rows]]
    swapped, _ = SWAPS[name, "swap"](rows, first_row=0)
    again, _ = SWAPS[name, "swap"](swapped, first_row=0)
    assert np.array_equal(again, rows)


@settings(max_examples=100, deadline=None)
@given(rows_of_text(), st.sampled_from(list(ARMS)))
def test_a_row_is_swapped_alike_whatever_stands_beside_it(case, arm):
    name, rows = case
    swapped, ledger = SWAPS[name, arm](rows, first_row=0)
    for index in range(len(rows)):
        alone, alone_ledger = SWAPS[name, arm](rows[index : index + 1], first_row=index)
        assert np.array_equal(alone[0], swapped[index])
        assert np.array_equal(alone_ledger.swapped[0], ledger.swapped[index])


def swap(text: str, name: str = LARGE, arm: str = "masculine_to_feminine") -> tuple[str, pd.DataFrame]:
    rows = np.array([TOKENIZERS[name].encode(text)], np.uint16)
    swapped, ledger = SWAPS[name, arm](rows, first_row=0)
    return decoded(TOKENIZERS[name], swapped[0]), ledger.counts


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x He said that he hurt himself. x", "x She said that she hurt herself. x"),
        ("x his ladder, not him. x", "x her ladder, not her. x"),
        ("x a friend of his. x", "x a friend of hers. x"),
        ("x the ladder was his to keep. x", "x the ladder was hers to keep. x"),
        (f"x it is his{END}", f"x it is hers{END}"),
        ("x his .45 pistol x", "x her .45 pistol x"),
        ("x 'he' and (he) and “his” x", "x 'she' and (she) and “her” x"),
        ("x The he-man sheds his skin. x", "x The he-man sheds her skin. x"),
        ("x HE IS x LATE HIS tie x", "x SHE IS x LATE HER tie x"),
    ],
)
def test_sentences_are_swapped_as_by_hand(text, expected):
    assert swap(text)[0] == expected


@pytest.mark.parametrize("name", TOKENIZERS)
def test_a_word_that_a_contraction_is_cut_from_is_whole_all_the_same(name):
    _, counts = swap("x\n'she sheds it.\n'sheds x 'shears x", name, "feminine_to_masculine")
    assert counts["form"].tolist() == ["she"]
    assert counts["occurrences"].tolist() == [1]


@pytest.mark.parametrize("name", TOKENIZERS)
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x he or she… x", "x he or she… x"),
        ("x he or sheé x", "x she or sheé x"),
        ("x …she or he x", "x …she or he x"),
        ("x éshe or he x", "x éshe or she x"),
        ("x HE É x", "x HE É x"),
        ("x HE ÉTÉ x", "x SHE ÉTÉ x"),
    ],
)
def test_rules_hold_where_other_letters_than_latin_ones_stand_beside_them(name, text, expected):
    swapped, counts = swap(text, name)
    assert counts["occurrences"].sum() == 1
    assert swapped == (text if counts["skipped_length"].sum() else expected)


def test_what_is_skipped_is_counted_with_its_reason():
    _, counts = swap("he saw him-or x his ladder or his")
    none = dict.fromkeys((f"skipped_{reason}" for reason in SKIP_REASONS), 0)
    assert counts.to_dict("records") == [
        {"form": "he", "replacement": "she", "occurrences": 1, "swapped": 0} | none | {"skipped_row_edge": 1},
        {"form": "him", "replacement": "her", "occurrences": 1, "swapped": 0} | none | {"skipped_compound": 1},
        {"form": "his", "replacement": "her", "occurrences": 2, "swapped": 1} | none | {"skipped_row_edge": 1},
    ]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("x he or she x", "coordination"),
        ("x her/his x", "coordination"),
        ("x s/he x", "coordination"),
        ("x s/ he x", "coordination"),
        ("x (s)he x", "coordination"),
        ("x HIS OR HER x", "coordination"),
        ("x himself and/or herself x", "coordination"),
        ("x His Majesty x", "fixed_expression"),
        ("x his Royal Highness x", "fixed_expression"),
        ("x the HIS works x", "acronym"),
        ("x his or\nher x", "coordination"),
        ("x he (or she) x", "coordination"),
        ("x he, or she, x", "coordination"),
        ("x him- or herself x", "coordination"),
        ("x he(she) x", "coordination"),
        ("x he\u00a0or  she x", "coordination"),
        ("x he & she x", "coordination"),
        ("x *he* or *she* x", "coordination"),
        ("x “his” nor “her” x", "coordination"),
        ("x his\n> or her x", "coordination"),
        ("x he, she, or they x", "coordination"),
        ("x praise HIS MAJESTY x", "fixed_expression"),
        ("x his lordship x", "fixed_expression"),
        ("x his Most Gracious Majesty x", "fixed_expression"),
        ("x his\nExcellency x", "fixed_expression"),
        ("x UK HE providers x", "acronym"),
        ('x lang="he" x', "code"),
        ("x http://he.example.org/he x", "code"),
        ("x self.his x", "code"),
        ("x @him x", "code"),
        ("x his@him.com x", "code"),
        ("x $his = $him; x", "code"),
        ("x struct node *he; x", "code"),
        ("x he->name x", "code"),
        ("x liquid He x", "symbol"),
        ("x residue His 57 x", "symbol"),
        ("x yo he visto x", "language"),
        ("x [T]he x", "compound"),
    ],
)
def test_what_is_no_pronoun_of_one_person_is_left(text, reason):
    swapped, counts = swap(text)
    assert swapped == text
    assert counts[f"skipped_{reason}"].sum() == counts["occurrences"].sum() > 0


@pytest.mark.parametrize("text", ["x he and she x", "x she for he x", "x HE SAID x", "x for he x"])
def test_what_only_looks_like_an_exemption_is_swapped(text):
    assert swap(text)[1]["swapped"].sum() == 1


@pytest.mark.parametrize("text", ["x his ", "x his .", "x his wa", "x his was", "x his\n"])
def test_a_choice_that_lies_beyond_the_row_is_left(text):
    swapped, counts = swap(text)
    assert swapped == text
    assert counts["skipped_row_edge"].tolist() == [1]


def test_a_replacement_of_another_length_is_left():
    tokenizer = TOKENIZERS[SMALL]
    assert (len(tokenizer.encode("he")), len(tokenizer.encode("she"))) == (1, 2)
    text, counts = swap("x (he) x", SMALL)
    assert text == "x (he) x"
    assert counts[["replacement", "skipped_length"]].to_dict("records") == [{"replacement": "she", "skipped_length": 1}]


def test_a_form_of_several_tokens_is_swapped_in_place():
    tokenizer = TOKENIZERS[SMALL]
    assert len(tokenizer.encode(" Him")) == len(tokenizer.encode(" Her")) > 1
    assert swap("x Him x", SMALL)[0] == "x Her x"


def test_the_mask_covers_the_swapped_word_and_no_more():
    tokenizer = TOKENIZERS[SMALL]
    parts = [tokenizer.encode(text) for text in ("x", " Him", " x")]
    _, ledger = SWAPS[SMALL, "masculine_to_feminine"](np.concatenate(parts)[np.newaxis].astype(np.uint16), first_row=0)
    expected = [index == 1 for index, part in enumerate(parts) for _ in part]
    assert ledger.swapped[0].tolist() == expected


def test_rows_that_cannot_be_written_to_are_swapped_too():
    rows = np.array([TOKENIZERS[LARGE].encode("x he x he x ")], np.uint16)[:, ::-1][:, ::-1]
    rows.flags.writeable = False
    assert SWAPS[LARGE, "masculine_to_feminine"](rows, first_row=0)[1].swapped.sum() == 2


def test_no_rows_give_no_rows():
    swapped, ledger = SWAPS[LARGE, "masculine_to_feminine"](np.zeros((0, 9), np.uint16), first_row=0)
    assert swapped.shape == ledger.swapped.shape == (0, 9)
    assert len(ledger.counts) == 0
