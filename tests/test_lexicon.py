import pytest
from hypothesis import given
from hypothesis import strategies as st

from interventions.independence import INDEPENDENT_AFTER_OF, INDEPENDENT_BEFORE, stands_independently
from interventions.lexicon import MASCULINE_TO_FEMININE, in_every_case


def test_every_form_comes_in_three_cases():
    forms = {pair.form: (pair.replacement, pair.otherwise) for pair in in_every_case(MASCULINE_TO_FEMININE)}
    assert len(forms) == 12
    assert forms["He"] == ("She", None)
    assert forms["HIMSELF"] == ("HERSELF", None)
    assert forms["his"] == ("her", "hers")
    assert forms["HIS"] == ("HER", "HERS")


@pytest.mark.parametrize(
    ("following", "expected"),
    [
        (" ladder is red", False),
        (" is red", True),
        (" island is red", False),
        (" is-land", False),
        (".", True),
        (" . Then", True),
        (" .45 calibre", False),
        (", and", True),
        ("\nladder", False),
        (' "ladder"', False),
        (" (red) ladder", False),
        ("/her ladder", False),
        (" to keep", True),
        (" WAS LOST", True),
        (" own", False),
        ("", True),
        (" \n", True),
        (" .NET code", False),
        (".NET", True),
        (" but recently widowed mother", False),
        (" but she kept it", True),
        (" but", True),
        (" told me", True),
        (" or mine", True),
        (" and my", None),
        (" or my", False),
        ("* ladder", False),
        ("_.", True),
        ("” said", True),
        (" in London", None),
        (") and", None),
    ],
)
def test_a_possessive_stands_independently_by_what_follows(following, expected):
    assert stands_independently(following, ended=True) is expected


@pytest.mark.parametrize(
    ("preceding", "following", "expected"),
    [
        ("a friend of ", " in London", True),
        ("some old books of ", " for sale", True),
        ("two cousins of ", " named Ann", True),
        ("the length of ", " in-laws’ stay", False),
        ("", " in London", False),
        ("the friend of ", " at once old teacher", False),
        ("lost (", ") and left", False),
        ("(not ", ") and left", True),
    ],
)
def test_a_possessive_stands_independently_by_what_precedes_too(preceding, following, expected):
    assert stands_independently(following, ended=True, preceding=preceding) is expected


@pytest.mark.parametrize("following", ["", " ", " .", " w", " is", " THA", " but", " but nob", "*", ")"])
def test_what_follows_may_be_too_short_to_tell(following):
    assert stands_independently(following, ended=False) is None


@pytest.mark.parametrize("following", [",", " j", " isl", " (", "/", " 4"])
def test_one_character_may_be_enough_to_tell(following):
    assert stands_independently(following, ended=False) is not None


pieces = st.sampled_from(
    [
        *INDEPENDENT_BEFORE,
        *INDEPENDENT_AFTER_OF,
        "but",
        "or",
        "mine",
        "*",
        ")",
        " ",
        "\n",
        ".",
        ",",
        "-",
        "4",
        "x",
        "_",
        "“",
        "é",
        "(",
    ]
)


@given(st.lists(pieces, max_size=6).map("".join), st.lists(pieces, max_size=4).map("".join), st.booleans())
def test_what_is_decided_stays_decided_however_the_text_goes_on(following, more, ended):
    verdict = stands_independently(following, ended=False)
    if verdict is not None:
        assert stands_independently(following + more, ended=ended) is verdict
