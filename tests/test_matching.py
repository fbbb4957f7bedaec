import numpy as np
import pytest

from interventions.matching import Matcher
from interventions.vocabulary import Joint, read_vocabulary
from test_vocabulary import END, byte_level_tokenizer

FORMS = ("he", "him", "himself")


@pytest.fixture(scope="module", params=[257, 270, 290, 600], ids=lambda size: f"vocabulary_{size}")
def find(request):
    """A function from the text of one row to its matches: (form, joint name) in order."""
    tokenizer = byte_level_tokenizer(request.param)
    matcher = Matcher(FORMS, tokenizer=tokenizer, vocabulary=read_vocabulary(tokenizer))

    def find(text: str) -> list[tuple[str, str]]:
        rows = np.array([tokenizer.encode(text)], np.uint16)
        matches = matcher.find(rows)
        forms = [FORMS[matcher.spellings[spelling].form] for spelling in matches.spelling]
        for form, position, length in zip(forms, matches.position, matches.length, strict=True):
            assert tokenizer.decode(rows[0, position : position + length]).strip() == form
        return list(zip(forms, [Joint(found).name for found in matches.joint], strict=True))

    return find


@pytest.mark.parametrize(
    "text", ["x sheds x", "x heuristic x", "x hertz x", "x himalaya x", "x the x", "x he2 x", "x 2he x", "x he_x x"]
)
def test_a_part_of_a_word_is_no_match(find, text):
    assert find(text) == []


@pytest.mark.parametrize("text", ["x hé x", "x he\u0301 x", "x éhe x", "x 漢he x", "x he字 x"])
def test_letters_beyond_ascii_belong_to_the_word(find, text):
    assert find(text) == []


@pytest.mark.parametrize(
    "text",
    [
        "x he x",
        "x\nhe x",
        "x  he x",
        'x "he" x',
        "x “he” x",
        "x he’s x",
        "x 🦔he🦔 x",
        "x—he—x",
        "x\u00a0he\u00a0x",
        "x_ he, x",
    ],
)
def test_a_whole_word_is_one_match(find, text):
    assert find(text) == [("he", "FREE")]


@pytest.mark.parametrize("text", ["x he-man x", "x br-he- x", "x he\u2011man x", "x (he-7) x", "x he\u00admen x"])
def test_a_word_joined_by_one_hyphen_is_a_compound(find, text):
    assert find(text) == [("he", "COMPOUND")]


@pytest.mark.parametrize("text", ["x he--man x", "x he - man x", "x he- x", "x -he x", "x --he x", "x he-, x"])
def test_a_dash_makes_no_compound(find, text):
    assert find(text) == [("he", "FREE")]


def test_the_longer_form_is_not_taken_for_the_shorter(find):
    assert find("x himself him he x") == [("himself", "FREE"), ("him", "FREE"), ("he", "FREE")]


@pytest.mark.parametrize("text", ["he x", "x he", "x he-", "-he x"])
def test_a_word_at_the_edge_of_the_row_is_cut(find, text):
    assert find(text) == [("he", "CUT")]


def test_a_leading_space_at_the_start_of_the_row_is_known_to_open_a_word(find):
    assert find(" he x") == [("he", "FREE")]


def test_an_end_of_document_opens_and_closes_words(find):
    assert find(f"{END}he{END} him-{END}-himself{END}") == [("he", "FREE"), ("him", "FREE"), ("himself", "FREE")]


def test_matches_do_not_reach_across_rows():
    tokenizer = byte_level_tokenizer(257)  # bytes only
    matcher = Matcher(FORMS, tokenizer=tokenizer, vocabulary=read_vocabulary(tokenizer))
    rows = np.array(tokenizer.encode("xx him x")).reshape(2, 4)
    assert len(matcher.find(rows).position) == 0
