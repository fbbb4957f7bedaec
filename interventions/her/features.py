"""Logistic regression on hashed features of the words around a place.

Legend: N places; G buckets of words; `company` (6, G) is `context.company_of_words`.
"""

import math

import numpy as np
from numpy.typing import NDArray

from interventions.her.words import BLANK, QUOTED, WORDS_AHEAD, Places, Window, Words, words_around

COMPANY_BITS = 16
WEIGHT_BITS = 18
RELATION = 5  # the feature of the previous and the next word's groups
FIRST_GROUP = 16  # what is added to the numbers of groups, to tell them from what stands in the place of a word
RATE = np.float32(0.3)

_KEYS = np.array(  # any large odd numbers
    [0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB, 0xD6E8FEB86659FD93], np.uint64
)


def bucket(words: NDArray[np.uint32]) -> Places:
    """(N,) place of words in tables of company."""
    places: Places = ((words.astype(np.uint64) * _KEYS[1]) >> np.uint64(64 - COMPANY_BITS)).astype(np.int64)
    return places


def features(
    words: Words, start: Places, stop: Places, company: NDArray[np.uint8]
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """(N, 18) the weights that speak for the place of the tokens [start, stop); and (N,) whether quotes enclose it."""
    window = words_around(words, start, stop)
    word, ending = window.word, window.ending
    group = _groups(window, company)
    row_end = (start // words.width + 1) * words.width - 1
    behind = np.minimum(stop, row_end)
    behind = np.minimum(behind + words.have(behind, BLANK), row_end)
    form, begins = (words.parts["form"][words.tokens[at]] for at in (start, behind))
    next1, next2, _, prev1 = bucket(word)
    last = WORDS_AHEAD
    parts = (
        (word[0],),
        (word[1],),
        (word[last],),
        (word[last], group[0]),
        (group[last], word[0]),
        (group[last], group[0]),
        (group[last], group[0], group[1]),
        (group[0], group[1]),
        (group[0], group[1], group[2]),
        (ending[0], group[1]),
        (group[0], form),
        (group[0], begins),
        (group[last], begins),
        (company[1, next1],),
        (company[3, prev1],),
        (company[0, next1], group[1]),
        (company[0, next1], group[last]),
        (company[0, next1], company[0, next2]),
    )
    found = [hashed(number, *values) for number, values in enumerate(parts)]
    return np.stack(found, axis=1), word[last] == QUOTED


def _groups(window: Window, company: NDArray[np.uint8]) -> NDArray[np.uint32]:
    """(WINDOW, N) each word's group in the tables of company; else its kind."""
    own, low_byte = company[4:, bucket(window.word)]
    known = (own != 0) & (low_byte == window.word & np.uint32(255))
    return np.where(known, own.astype(np.uint32) + FIRST_GROUP, window.kind)


def hashed(number: int, *values: NDArray[np.integer]) -> NDArray[np.int64]:
    """Multilinear hashing: independent multiplications, the top bits of their sum."""
    total = np.uint64(number) * _KEYS[:1]
    for key, value in zip(_KEYS[1:], values, strict=False):
        total = total + value.astype(np.uint64) * key
    return (total >> np.uint64(64 - WEIGHT_BITS)).astype(np.int64)


def learn(
    found: NDArray[np.int64], target: NDArray[np.bool_], orders: NDArray[np.int64], begin: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Weights by AdaGrad in float32, one example after the other, each epoch in its order.

    Args:
        found: (N, features) of each example.
        begin: weights to begin with; the last one is the constant.
    """
    weights, squares = begin.copy(), np.ones(len(begin), np.float32)
    found = np.concatenate([found, np.full((len(found), 1), len(begin) - 1)], axis=1)
    in_order = np.sort(found, axis=1)
    repeats = (in_order[:, 1:] == in_order[:, :-1]).any(axis=1)
    targets = target.astype(np.float32)
    for k in orders.flat:
        total = np.add.accumulate(weights[found[k]])[-1]
        likelihood = 1 / (1 + float(np.float32(math.exp(-total))))
        slope = np.float32(likelihood) - targets[k]
        for at in found[k] if repeats[k] else (found[k],):  # a weight that speaks twice learns twice
            squares[at] += slope * slope
            weights[at] -= RATE * slope / np.sqrt(squares[at])
    return weights


def score(found: NDArray[np.int64], weights: NDArray[np.float32]) -> NDArray[np.float32]:
    """(N,) log-odds of possessive, summed in the order of the features."""
    scores = np.full(len(found), weights[-1], np.float32)
    for column in found.T:
        scores += weights[column]
    return scores
