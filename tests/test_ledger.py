import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from interventions import load_intervention
from interventions.ledger import group_tokens
from sample_corpus import word_tokenizer

TOKENIZER = word_tokenizer()


def ledger_of(text):
    rows = np.array([TOKENIZER.encode(text)], np.uint16)
    return rows, load_intervention("masculine_to_feminine", tokenizer=TOKENIZER)(rows, first_row=7)[1]


def test_every_occurrence_has_its_exact_place():
    rows, ledger = ledger_of("x he saw he-x and his x")
    found = ledger.occurrences(first_row=7)
    assert found["row"].tolist() == [7, 7, 7]
    assert [TOKENIZER.decode(rows[0, at : at + n]) for at, n in zip(found["token"], found["tokens"], strict=True)] == [
        " he",
        " he",
        " his",
    ]
    assert found["outcome"].tolist() == ["swapped", "skipped_compound", "swapped"]
    assert found["replacement"].tolist() == ["she", "she", "her"]
    assert np.flatnonzero(ledger.swapped[0]).tolist() == found["token"][found["outcome"] == "swapped"].tolist()


def test_tokens_behind_a_swapped_word_are_its_neighbours():
    _, ledger = ledger_of("x he" + " x" * 20)
    groups = ledger.groups()[0].tolist()
    at = groups.index(1)
    assert groups[: at + 1] == [0] * at + [1]
    assert groups[at + 1 :] == [2] * 8 + [0] * (len(groups) - at - 9)


def test_neighbours_end_with_the_row():
    rows = np.array(
        [TOKENIZER.encode("x he x"), TOKENIZER.encode("x x x ")[: len(TOKENIZER.encode("x he x"))]], np.uint16
    )
    _, ledger = load_intervention("masculine_to_feminine", tokenizer=TOKENIZER)(rows, first_row=0)
    assert 2 in ledger.groups()[0]
    assert not ledger.groups()[1].any()


@settings(max_examples=40, deadline=None)
@given(st.lists(st.lists(st.booleans(), min_size=7, max_size=7), min_size=1, max_size=3), st.integers(1, 4))
def test_a_token_is_a_neighbour_where_a_swapped_one_stands_near_before_it_in_its_row(rows, reach):
    swapped = np.array(rows)
    for (row, column), group in np.ndenumerate(group_tokens(swapped, reach)):
        near = swapped[row, max(0, column - reach) : column].any()
        assert group == (1 if swapped[row, column] else 2 if near else 0)


def test_the_fingerprint_tells_positions_apart():
    prints = {ledger_of(text)[1].fingerprint() for text in ("x he x x", "x x he x", "x x x x")}
    assert len(prints) == 3
    assert ledger_of("x he x x")[1].fingerprint() in prints
