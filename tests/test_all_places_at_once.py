"""What is done for all places at once in NumPy, against the same in plain Python, one token after the other."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interventions.exemptions import ENGLISH_REACH, weigh
from interventions.matching import Matcher, Matches
from interventions.positions import mark, write
from interventions.selection import _dealt
from interventions.vocabulary import Joint, joint, read_vocabulary
from sample_corpus import word_tokenizer
from test_vocabulary import byte_level_tokenizer

FORMS = ("he", "him", "himself", "she", "her", "Her", "herself")
PIECES = (*FORMS, "s", "self", "her self", "-", "_", "__________", "'", "’", "é", "漢", " ", "\n", ".", "<|endoftext|>")
TOKENIZERS = {"bytes": byte_level_tokenizer(257), "pieces": byte_level_tokenizer(300), "words": word_tokenizer()}
VOCABULARIES = {name: read_vocabulary(tokenizer) for name, tokenizer in TOKENIZERS.items()}
MATCHERS = {
    name: Matcher(FORMS, tokenizer=tokenizer, vocabulary=VOCABULARIES[name]) for name, tokenizer in TOKENIZERS.items()
}
TEXTS = st.lists(st.sampled_from(PIECES), min_size=1, max_size=60).map("".join)


def found_one_by_one(rows, matcher):
    """(spelling, position, joint) of each word, the longest first, none within another."""
    found = []
    for number, row in enumerate(rows):
        reached = 0
        for column in range(len(row)):
            if column < reached:
                continue
            for index, spelling in enumerate(matcher.spellings):
                stop = column + len(spelling.tokens)
                if tuple(row[column:stop].tolist()) != spelling.tokens:
                    continue
                text, ended = matcher.vocabulary.text_after(row, stop, enough=64)
                sides = [joint(text, ended=ended)]
                if spelling.lead == "":
                    text, ended = matcher.vocabulary.text_before(row, column, enough=64)
                    sides.append(joint(text[::-1], ended=ended))
                if Joint.WORD not in sides:
                    found.append((index, number * len(row) + column, max(sides)))
                    reached = stop
                    break
    return found


@pytest.mark.parametrize("name", TOKENIZERS)
@settings(max_examples=60, deadline=None)
@given(text=TEXTS, width=st.integers(1, 12), kind=st.sampled_from([np.uint16, np.int32, np.int64]))
def test_words_are_found_as_one_by_one(name, text, width, kind):
    ids = TOKENIZERS[name].encode(text)
    rows = np.resize(np.array(ids, kind), (-(-len(ids) // width), width))
    rows.flags.writeable = False
    matches = MATCHERS[name].find(rows)
    columns = matches.spelling.tolist(), matches.position.tolist(), matches.joint.tolist()
    assert list(zip(*columns, strict=True)) == found_one_by_one(rows, MATCHERS[name])
    assert matches.length.tolist() == [len(MATCHERS[name].spellings[index].tokens) for index in matches.spelling]


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_signs_of_english_are_weighed_as_one_by_one(data):
    vocabulary = VOCABULARIES["bytes"]
    tokens = data.draw(st.lists(st.integers(252, 256), min_size=60, max_size=180))
    rows = np.array(tokens[: len(tokens) // 60 * 60], np.uint16).reshape(-1, 60)
    position = np.array(sorted(data.draw(st.sets(st.integers(0, rows.size - 1)))), np.int64)
    weights = np.arange(vocabulary.size).astype(np.int8) % 5 - 2
    empty = np.zeros(len(position), np.int32)
    weighed = weigh(rows, Matches(empty, position, empty, empty), weights, vocabulary)
    for place, weight in zip(position.tolist(), weighed.tolist(), strict=True):
        row, column = divmod(place, 60)
        sides = rows[row, max(0, column - ENGLISH_REACH) : column][::-1], rows[row, column + 1 :][:ENGLISH_REACH]
        near = []
        for side in sides:
            ends = np.flatnonzero(vocabulary.ends_document[side])
            near += side[: ends[0] if len(ends) else None].tolist()
        assert weight == weights[near].sum()


@given(st.lists(st.tuples(st.integers(0, 4), st.booleans(), st.floats(0, 1)), unique_by=lambda each: each[2]))
def test_each_row_is_dealt_as_many_as_it_had_where_the_lots_are_lowest(words):
    words.sort(key=lambda each: each[0])
    row, feminine, lots = (np.array([each[at] for each in words]) for at in (0, 1, 2))
    dealt = _dealt(row, lots, feminine.astype(bool))
    for number in set(row.tolist()):
        own = np.flatnonzero(row == number)
        lowest = sorted(own.tolist(), key=lambda word: lots[word])[: int(feminine[own].sum())]
        assert dealt[own].tolist() == [word in lowest for word in own.tolist()]


def test_spans_are_marked_and_written():
    mask, tokens = np.zeros(8, bool), np.arange(8, dtype=np.uint16)
    position, length = np.array([1, 5]), np.array([1, 3])
    mark(mask, position, length)
    assert np.flatnonzero(mask).tolist() == [1, 5, 6, 7]
    write(tokens, position, length, np.array([[20, 0, 0], [30, 31, 32]]))
    assert tokens.tolist() == [0, 20, 2, 3, 4, 30, 31, 32]
