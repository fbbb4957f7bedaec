import numpy as np
import pytest

from interventions import load_intervention
from interventions.exemptions import ENGLISH_LEAST, is_acronym, names_both_genders, opens_title
from sample_corpus import word_tokenizer

TOKENIZER = word_tokenizer()


@pytest.mark.parametrize(
    ("form", "before", "after"),
    [
        ("he", "x", " or she left"),
        ("she", "x he or", " left"),
        ("his", "x", "/her boat"),
        ("her", "his/", " boat"),
        ("him", "x", " nor her"),
        ("HERSELF", "HIMSELF AND/OR", " x"),
        ("he", "x s/", " left"),
        ("he", "x (s)", " left"),
        ("She", "He/", ""),
    ],
)
def test_both_genders_are_named(form, before, after):
    assert names_both_genders(form, before, after)


@pytest.mark.parametrize(
    ("form", "before", "after"),
    [
        ("he", "x", " and she left"),
        ("he", "x", " or shed"),
        ("he", "x", "  or she"),
        ("his", "x", " or his"),
        ("she", "the or", " left"),
        ("she", "x he for", " left"),
        ("him", "x s/", " left"),
        ("he", "xs/", " left"),
        ("she", "x heor", " left"),
        ("he", "x", "or she"),
        ("he", "x", " orshe"),
    ],
)
def test_one_gender_is_named(form, before, after):
    assert not names_both_genders(form, before, after)


def test_a_title_is_told_from_other_nouns():
    assert opens_title(" Majesty’s ship")
    assert opens_title(" Royal Highness.")
    assert not opens_title(" Majestyx")
    assert not opens_title(" majesty")
    assert not opens_title(" Royal boat")


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ("x THE", " IS x", False),
        ("SAID", " x", False),
        ("x.", ", LATE.", False),
        ("the", " works", True),
        ("I", " x", True),
        ("", "", True),
        ("Mc", "IT", False),
        ("SHOUTED" + "." * 40, " x", True),
    ],
)
def test_capitals_are_an_acronym_unless_a_neighbour_shouts_too(before, after, expected):
    assert is_acronym(before, after) is expected


def test_other_languages_are_left_only_where_that_is_asked_for():
    texts = {
        "english": " in the garden he said that it was for the king",
        "spanish": " no he visto nada en la casa de mi tia",
        "code": " def he(x): return x[he] + he",
    }
    for language, text in texts.items():
        rows = np.array([TOKENIZER.encode(f"x{text} x")], np.uint16)
        everywhere, gated = (
            load_intervention("masculine_to_feminine", tokenizer=TOKENIZER, english_only=only)(rows, first_row=0)[1]
            for only in (False, True)
        )
        assert everywhere.swapped.any()
        assert gated.swapped.any() == (language == "english")
        if language != "english":
            assert gated.counts["skipped_language"].sum() == gated.counts["occurrences"].sum() > 0
    assert ENGLISH_LEAST == 2
