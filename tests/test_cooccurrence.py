import re

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eval.cooccurrence import count_pronouns
from eval.held_out import FEMININE, MASCULINE

TERMS = ["nurse", "chief", "flight attendant"]


def _rows(tokenizer, text: str, width: int = 512) -> np.ndarray:
    ids = tokenizer.encode(text, add_special_tokens=False)
    assert len(ids) <= width
    return np.array([ids + [tokenizer.eos_token_id] * (width - len(ids))])


def _counts(tokenizer, text: str) -> dict[str, tuple[int, ...]]:
    found = count_pronouns(_rows(tokenizer, text), TERMS, tokenizer).set_index("term")
    return {term: tuple(row) for term, row in found.iterrows() if row.any()}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The nurse lost her key.", {"nurse": (1, 1, 0)}),
        ("Nurse, she said. He left.", {"nurse": (1, 1, 0)}),
        ("The nurse slept. He left.", {}),
        ("The nurse slept! HE left with a (nurse).", {"nurse": (1, 0, 1)}),
        ("Is the chief\nhimself here?", {"chief": (1, 0, 1)}),
        ("The chief said so\n\nhe left.", {}),
        ("The chief paid 3.5 to her.", {"chief": (1, 1, 0)}),
        ("The nurse and the nurse met her and him.", {"nurse": (1, 1, 1)}),
        ("The nurses saw her; the nursery is hers.", {}),
        ("The nurse went there, then with others.", {}),
        ("A flight attendant told the chief that he and he know her.", {t: (1, 1, 2) for t in TERMS[1:]}),
        ("A flight, said the attendant, is his.", {}),
        ("The chief<|endoftext|>She left.", {}),
        ("The nurse's coat is hers, she's sure.", {"nurse": (1, 2, 0)}),
        ('"The nurse left." She waved.', {}),
        ("The nurse left\n    \nShe waved.", {}),
    ],
)
def test_pronouns_are_counted_in_the_sentence_that_names_the_term(tiny_tokenizer, text, expected):
    assert _counts(tiny_tokenizer, text) == expected


def test_no_sentence_goes_on_in_the_next_row(tiny_tokenizer):
    ids = tiny_tokenizer.encode(" nurse chief her", add_special_tokens=False)
    for cut in range(1, len(ids)):
        rows = np.full((2, len(ids)), tiny_tokenizer.eos_token_id)
        rows[0, -cut:], rows[1, : len(ids) - cut] = ids[:cut], ids[cut:]
        assert count_pronouns(rows, ["nurse"], tiny_tokenizer)["sentences"].item() == 0


WORDS = ["the", "nurse", "Nurse", "chief", "she", "Her", "he", "his", "went", "others", "nurses", "himself", "it", "33"]


@given(
    st.lists(
        st.tuples(st.sampled_from(WORDS), st.sampled_from([" ", ". ", "? ", ", ", "\n", "\n\n", "-"])), max_size=30
    )
)
def test_counts_are_those_of_a_regular_expression_over_the_text(tiny_tokenizer, words):
    text = "".join(word + after for word, after in words)
    found = count_pronouns(_rows(tiny_tokenizer, text), TERMS, tiny_tokenizer).set_index("term")
    sentences = re.split(r"(?<=[.?])\s|\n\n", text)
    for term in TERMS:
        named = [each for each in sentences if re.search(rf"\b({term}|{term.capitalize()})\b", each)]
        genders = [
            [len(re.findall(rf"\b({'|'.join(forms)})\b", each, re.IGNORECASE)) for each in named]
            for forms in (FEMININE, MASCULINE)
        ]
        expected = [sum(map(any, zip(*genders, strict=True))), *map(sum, genders)]
        assert found.loc[term].tolist() == expected


def test_rows_that_are_counted_in_parts_give_the_same(tiny_tokenizer, monkeypatch):
    rows = np.concatenate([_rows(tiny_tokenizer, f"{i} nurse and her {'chief ' * i}.", 64) for i in range(7)])
    whole = count_pronouns(rows, TERMS, tiny_tokenizer)
    monkeypatch.setattr("eval.cooccurrence._ROWS_AT_ONCE", 2)
    pd.testing.assert_frame_equal(count_pronouns(rows, TERMS, tiny_tokenizer), whole)
