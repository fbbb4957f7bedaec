"""The loops over words that `context` and `her` need, compiled with numba.

Legend: S rows of W tokens, as (S * W,) `tokens`; K places; V tokens in the vocabulary; G buckets of words. `parts` are
`context.token_parts`.
"""

import numpy as np

from interventions.compiled import njit

LONGEST_WORD = 8  # tokens
WORDS_AHEAD = 3
WINDOW = WORDS_AHEAD + 1  # the next words, then the previous one
COMPANY_BITS = 16
WEIGHT_BITS = 18
FEATURES = 18
RATE = 0.3

OPENS, CLOSES, SPACED, BLANK, LINE = 1, 2, 4, 8, 16  # flags of `token_parts`; those from BLANK on are no plain words
ENDS, PREFIX, QUOTE, STOP, BULLET = 32, 64, 128, 256, 512
_EDGE, _CUT = np.uint32(1), np.uint32(2)  # in the place of a word: the end of the text, the end of the row
_OPENING, _QUOTED = np.uint32(3), np.uint32(4)  # a quotation mark behind a blank; one on either side
FIRST_GROUP = 16  # what is added to the numbers of groups, to tell them from these
RELATION = 5  # the feature of the previous and the next word's groups
_KEY0, _KEY1 = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBF58476D1CE4E5B9)  # any large odd numbers
_KEY2, _KEY3 = np.uint64(0x94D049BB133111EB), np.uint64(0xD6E8FEB86659FD93)


@njit(cache=True, nogil=True)
def bucket(word):
    """Place of a word in tables of company."""
    return np.int64((np.uint64(word) * _KEY1) >> np.uint64(64 - COMPANY_BITS))


@njit(cache=True, nogil=True)
def _joined(parts, left, right):
    return parts[left].flags & CLOSES != 0 and parts[right].flags & OPENS != 0


@njit(cache=True, nogil=True)
def _at_line_start(row, parts, at):
    """Whether only marks of quoted lines and blanks stand between the beginning of a line and token `at`."""
    while at > 0:
        at -= 1
        flags = parts[row[at]].flags
        if flags & LINE:
            return True
        if not flags & (BLANK | PREFIX):
            return False
    return True


@njit(cache=True, nogil=True)
def _step_over_blanks(row, parts, at, step):
    """(The next token from `at` on that is no blank, 0); or what stands in its place: `_EDGE` or `_CUT`.

    One line end is a blank, with the marks of a quoted line behind it; an empty line ends the text.
    """
    lines = 0
    while 0 <= at < len(row):
        flags = parts[row[at]].flags
        if flags & ENDS:
            return at, _EDGE
        if flags & LINE:
            lines += 1
            if lines == 2:
                return at, _EDGE
        elif flags & BULLET and lines:
            return at, _EDGE
        elif not flags & BLANK and not (flags & PREFIX and _at_line_start(row, parts, at)):
            return at, np.uint32(0)
        at += step
    return at, _CUT


@njit(cache=True, nogil=True)
def count_company(tokens, width, parts, groups_before, groups_behind, before, behind):
    """before[w, g]: how often a word of group g stands before word w; behind[w, g]: behind it. Group 0: any other."""
    for begin in range(0, len(tokens), width):
        row = tokens[begin : begin + width]
        last, at = -1, 0
        while at < width:
            at, end = _step_over_blanks(row, parts, at, 1)
            if end:
                last = -1
                at += 1
                continue
            value = parts[row[at]].hash
            at += 1
            while at < width and _joined(parts, row[at - 1], row[at]):
                value = np.uint32(value * parts[row[at]].power + parts[row[at]].hash)
                at += 1
            word = bucket(value)
            if last >= 0:
                before[word, groups_before[last]] += 1
                behind[last, groups_behind[word]] += 1
            last = word


@njit(cache=True, nogil=True)
def words_around(row, start, stop, parts, word, ending, kind):
    """Fill `word`, `ending`, `kind` (WINDOW,): of the next words behind tokens [start, stop) of a row, then of the one
    before it, of which `ending` is left.
    """
    at, end = stop, np.uint32(0)
    for slot in range(WORDS_AHEAD):
        if end == 0:
            first = at
            if at >= len(row):
                end = _CUT
            elif parts[row[at]].flags >= BLANK:
                at, end = _step_over_blanks(row, parts, at, 1)
                if end == 0:
                    flags = parts[row[at]].flags
                    if flags & QUOTE and (at > first or flags & SPACED):
                        word[slot] = ending[slot] = kind[slot] = _OPENING
                        at += 1
                        continue
                    if flags & STOP:
                        end = _EDGE
        if end:
            word[slot] = ending[slot] = kind[slot] = end
            continue
        first, value = at, parts[row[at]].hash
        while at + 1 < len(row) and at - first + 1 < LONGEST_WORD and _joined(parts, row[at], row[at + 1]):
            at += 1
            value = np.uint32(value * parts[row[at]].power + parts[row[at]].hash)
        part = 1 if at > first else 0
        word[slot], ending[slot], kind[slot] = value, parts[row[at]].ending[part], parts[row[at]].kind[part]
        at += 1

    at, end = start - 1, np.uint32(0)
    if at < 0:
        end = _CUT
    elif parts[row[at]].flags >= BLANK:
        at, end = _step_over_blanks(row, parts, at, -1)
    if end:
        word[WORDS_AHEAD] = kind[WORDS_AHEAD] = end
        return
    if parts[row[at]].flags & QUOTE and stop < len(row) and parts[row[stop]].flags & (QUOTE | SPACED) == QUOTE:
        word[WORDS_AHEAD] = kind[WORDS_AHEAD] = _QUOTED
        return
    last, value, power = at, parts[row[at]].hash, parts[row[at]].power
    while at > 0 and last - at + 1 < LONGEST_WORD and _joined(parts, row[at - 1], row[at]):
        at -= 1
        value = np.uint32(parts[row[at]].hash * power + value)
        power = np.uint32(power * parts[row[at]].power)
    word[WORDS_AHEAD], kind[WORDS_AHEAD] = value, parts[row[last]].kind[1 if at < last else 0]


@njit(cache=True, nogil=True)
def _group(company, place, word, kind):
    """The word's group in the tables of `company_of_words`; else its kind."""
    if company[4, place] and company[5, place] == word & np.uint32(255):
        return np.uint32(company[4, place] + FIRST_GROUP)
    return kind


@njit(cache=True, nogil=True)
def _hashed(number, a, b, c):
    """Multilinear hashing: independent multiplications, the top bits of their sum."""
    value = np.uint64(number) * _KEY0 + np.uint64(a) * _KEY1 + np.uint64(b) * _KEY2 + np.uint64(c) * _KEY3
    return np.int64(value >> np.uint64(64 - WEIGHT_BITS))


@njit(cache=True, nogil=True)
def _features(row, start, stop, parts, company, window, found):
    """Fill `found` with the weights that speak for one place. next1, next2, next3 are words behind it, prev1 before."""
    word, ending, group = window[0], window[1], window[2]
    words_around(row, start, stop, parts, word, ending, group)
    next1, next2, prev1 = bucket(word[0]), bucket(word[1]), bucket(word[3])
    group[0], group[1] = _group(company, next1, word[0], group[0]), _group(company, next2, word[1], group[1])
    group[2], group[3] = _group(company, bucket(word[2]), word[2], group[2]), _group(company, prev1, word[3], group[3])
    behind = min(stop, len(row) - 1)
    if parts[row[behind]].flags & BLANK:
        behind = min(behind + 1, len(row) - 1)
    none, form, begins = np.uint32(0), parts[row[start]].form, parts[row[behind]].form
    found[0] = _hashed(0, word[0], none, none)
    found[1] = _hashed(1, word[1], none, none)
    found[2] = _hashed(2, word[3], none, none)
    found[3] = _hashed(3, word[3], group[0], none)
    found[4] = _hashed(4, group[3], word[0], none)
    found[RELATION] = _hashed(RELATION, group[3], group[0], none)
    found[6] = _hashed(6, group[3], group[0], group[1])
    found[7] = _hashed(7, group[0], group[1], none)
    found[8] = _hashed(8, group[0], group[1], group[2])
    found[9] = _hashed(9, ending[0], group[1], none)
    found[10] = _hashed(10, group[0], form, none)
    found[11] = _hashed(11, group[0], begins, none)
    found[12] = _hashed(12, group[3], begins, none)
    found[13] = _hashed(13, company[1, next1], none, none)
    found[14] = _hashed(14, company[3, prev1], none, none)
    found[15] = _hashed(15, company[0, next1], group[1], none)
    found[16] = _hashed(16, company[0, next1], group[3], none)
    found[17] = _hashed(17, company[0, next1], company[0, next2], none)


@njit(cache=True, nogil=True)
def learn(tokens, width, position, length, possessive, parts, company, orders, relations, log_odds):
    """Weights by AdaGrad, one example after the other, each epoch in its order.

    They begin at 0, but at `log_odds` for each of `relations`, the groups of a previous and a next word. A quoted word
    counts as an object.
    """
    constant = 1 << WEIGHT_BITS
    weights, squares = np.zeros(constant + 1, np.float32), np.ones(constant + 1, np.float32)
    for n in range(len(relations)):
        weights[_hashed(RELATION, relations[n, 0], relations[n, 1], np.uint32(0))] = log_odds
    found = np.full((len(position), FEATURES + 1), constant, np.int32)
    window, target = np.empty((3, WINDOW), np.uint32), np.empty(len(position), np.float32)
    for k in range(len(position)):
        start = position[k] % width
        row = tokens[position[k] - start : position[k] - start + width]
        _features(row, start, start + length[k], parts, company, window, found[k])
        target[k] = possessive[k] and window[0, WORDS_AHEAD] != _QUOTED
    for epoch in range(len(orders)):
        for k in orders[epoch]:
            total = np.float32(0)
            for weight in found[k]:
                total += weights[weight]
            slope = np.float32(1 / (1 + np.exp(-total))) - target[k]
            for weight in found[k]:
                squares[weight] += slope * slope
                weights[weight] -= np.float32(RATE) * slope / np.sqrt(squares[weight])
    return weights


@njit(cache=True, nogil=True)
def score(tokens, width, position, length, parts, company, weights):
    """(K,) log-odds of possessive."""
    scores = np.full(len(position), weights[-1], np.float32)
    found = np.empty((len(position), FEATURES), np.int32)
    window = np.empty((3, WINDOW), np.uint32)
    for k in range(len(position)):
        start = position[k] % width
        row = tokens[position[k] - start : position[k] - start + width]
        _features(row, start, start + length[k], parts, company, window, found[k])
    for k in range(len(position)):
        for feature in range(FEATURES):
            scores[k] += weights[found[k, feature]]
    return scores
