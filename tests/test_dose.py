"""Doses: functions of the seed and of the place in the corpus, nested in one another, whatever the batches."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foundation import UserError
from interventions import Dose, load_intervention
from interventions.dose import Stream, document_starts, draw
from sample_corpus import word_tokenizer
from test_vocabulary import END

TOKENIZER = word_tokenizer()
WORDS = ("x", " he", " him", " his x", " himself", " and", "\n", END)
TEXTS = st.lists(st.sampled_from(WORDS), min_size=1, max_size=120).map("".join)


def load(**options):
    return load_intervention("masculine_to_feminine", tokenizer=TOKENIZER, **options)


def rows_of(text, width=11):
    ids = TOKENIZER.encode(text)
    ids += TOKENIZER.encode(END) * (-len(ids) % width)
    return np.array(ids, np.uint16).reshape(-1, width)


@settings(max_examples=40, deadline=None)
@given(TEXTS, st.sampled_from(["occurrence", "row", "document"]), st.integers(0, 3), st.integers(0, 10**9))
def test_what_a_dose_changes_a_larger_one_changes_too(text, unit, seed, first_row):
    rows = rows_of(text)
    masks = [load(fraction=f, unit=unit, seed=seed)(rows, first_row=first_row)[1].swapped for f in (0, 0.25, 0.5, 1)]
    assert not masks[0].any()
    for smaller, larger in itertools.pairwise(masks):
        assert not (smaller & ~larger).any()
    assert np.array_equal(masks[-1], load()(rows, first_row=first_row)[1].swapped)


@settings(max_examples=40, deadline=None)
@given(TEXTS, st.sampled_from(["occurrence", "row", "document"]), st.integers(1, 4), st.integers(0, 10**9))
def test_rows_are_drawn_alike_in_any_split_and_order(text, unit, size, first_row):
    arm, rows = load(fraction=0.5, unit=unit, seed=1), rows_of(text)
    whole, ledger = arm(rows, first_row=first_row)
    for start in reversed(range(0, len(rows), size)):
        part, part_ledger = arm(rows[start : start + size], first_row=first_row + start)
        assert np.array_equal(part, whole[start : start + size])
        assert np.array_equal(part_ledger.swapped, ledger.swapped[start : start + size])


@pytest.mark.parametrize("unit", ["occurrence", "row", "document"])
def test_about_the_fraction_of_the_units_is_changed(unit):
    rows = np.repeat(rows_of(f"x he{END}x him{END}"), 4000, axis=0)
    _, ledger = load(fraction=0.3, unit=unit)(rows, first_row=0)
    assert ledger.swapped.sum() / 8000 == pytest.approx(0.3, abs=0.03)
    whole_rows = ledger.swapped.sum(axis=1)
    assert set(whole_rows) == ({0, 2} if unit == "row" else {0, 1, 2})


def test_a_document_is_drawn_as_a_whole_as_far_as_it_lies_in_a_row():
    rows = np.repeat(rows_of(f"x he he{END}x him him{END}"), 200, axis=0)
    _, ledger = load(fraction=0.5, unit="document")(rows, first_row=0)
    per_document = [tuple(ledger.swapped[:, part].sum(axis=1)) for part in (slice(0, 4), slice(4, 11))]
    assert [set(numbers) for numbers in per_document] == [{0, 2}, {0, 2}]
    assert len(set(zip(*per_document, strict=True))) == 4


def test_other_seeds_change_others():
    rows = np.repeat(rows_of("x he x him x his x he"), 100, axis=0)
    masks = [load(fraction=0.5, seed=seed)(rows, first_row=0)[1].swapped for seed in (0, 1)]
    assert (masks[0] != masks[1]).sum() > 100


def test_rows_outside_the_bounds_are_left_and_counted():
    rows = np.repeat(rows_of("x he x"), 10, axis=0)
    changed, ledger = load(first_row=103, stop_row=106)(rows, first_row=100)
    assert np.flatnonzero(ledger.swapped.any(axis=1)).tolist() == [3, 4, 5]
    assert np.array_equal(changed[~ledger.swapped.any(axis=1)], rows[~ledger.swapped.any(axis=1)])
    assert ledger.counts[["occurrences", "swapped", "skipped_not_drawn"]].to_numpy().tolist() == [[10, 3, 7]]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"fraction": 1.5}, "fraction=1.5 is no share"),
        ({"fraction": float("nan")}, "fraction=nan is no share"),
        ({"unit": "word"}, "unit=word is unknown; known are occurrence, row, document"),
        ({"first_row": 5, "stop_row": 4}, "begin at row 5 and end before, at 4"),
    ],
)
def test_a_dose_that_is_none_is_refused(options, told):
    with pytest.raises(UserError, match=told):
        Dose(**options)


def test_an_arm_that_needs_whole_rows_refuses_a_dose_of_occurrences():
    with pytest.raises(UserError, match=r"set intervention\.unit=row"):
        load_intervention("shuffled", tokenizer=TOKENIZER, fraction=0.5)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**63 - 1), st.integers(0, 4), st.lists(st.integers(0, 2**63 - 1), min_size=1, max_size=5))
def test_numbers_drawn_are_those_of_splitmix64(seed, stream, keys):
    def mixed(bits):
        bits = (bits ^ bits >> 30) * 0xBF58476D1CE4E5B9 % 2**64
        bits = (bits ^ bits >> 27) * 0x94D049BB133111EB % 2**64
        return bits ^ bits >> 31

    def stepped(number):
        return mixed((number + 0x9E3779B97F4A7C15) % 2**64)

    salt = mixed((stepped(seed) + stream) % 2**64)
    expected = [(mixed(salt ^ stepped(key)) >> 11) / 2**53 for key in keys]
    assert draw(seed, stream, np.array(keys, np.int64)).tolist() == expected


@settings(max_examples=40, deadline=None)
@given(st.lists(st.lists(st.booleans(), min_size=5, max_size=5), min_size=1, max_size=4), st.data())
def test_a_document_begins_behind_the_mark_before_it_or_with_its_row(rows, data):
    marks = np.array(rows)
    position = sorted(data.draw(st.sets(st.integers(0, marks.size - 1))))
    starts = document_starts(
        marks.astype(np.uint16).reshape(-1), 5, np.array(position, np.int64), np.array([False, True])
    )
    for place, start in zip(position, starts, strict=True):
        row, column = divmod(place, 5)
        assert start == 5 * row + max((mark + 1 for mark in range(column) if marks[row, mark]), default=0)


def test_each_kind_of_chance_keeps_a_stream_of_its_own():
    assert {stream.name: int(stream) for stream in Stream} == {
        "DOSE": 0,
        "COIN": 1,
        "SHUFFLE": 2,
        "PLACEBO": 3,
        "FIT": 4,
    }


def test_numbers_drawn_are_uniform_and_streams_are_independent():
    keys = np.arange(100_000)
    one, other = draw(0, 0, keys), draw(0, 1, keys)
    assert one.min() >= 0
    assert one.max() < 1
    counts, _ = np.histogram(one, bins=20, range=(0, 1))
    assert ((counts - 5000) ** 2 / 5000).sum() < 45  # chi-squared, 19 degrees of freedom, p = 0.0007
    assert abs(np.corrcoef(one, other)[0, 1]) < 0.015
    assert abs(np.corrcoef(one[1:], one[:-1])[0, 1]) < 0.015
    assert np.array_equal(draw(0, 0, keys[::-1])[::-1], one)
