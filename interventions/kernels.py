"""The loops over tokens and over words that numpy cannot make in one pass, compiled with numba.

Legend: S rows of W tokens, as (S * W,) `tokens`; K words found; P spellings (ways in which a form occurs). All arrays
are contiguous. Compiled code is kept beside this file, or in the user's cache where that cannot be written to.
"""

import numpy as np

from interventions.compiled import njit

FREE, CUT, COMPOUND, WORD = 0, 1, 2, 3  # as `interventions.vocabulary.Joint`; the compiler wants plain numbers
OTHER, SWAPPED, NEIGHBOURING = 0, 1, 2  # as `interventions.ledger.GROUPS`

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_1, _MIX_2 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)


@njit(cache=True, nogil=True)
def find_words(
    tokens, width, everywhere, places, begins, alone, follows, sole, group_of, group_start, lengths, spelled, bare,
    opening, closing,
):  # fmt: skip
    """Every spelling that stands as a word of its own, or may do so. In the order of the text, none within another.

    Args:
        everywhere: whether words may begin anywhere, or only at `places` (N,), which are sorted.
        begins, alone, follows: (V,) 1 where a spelling begins with the token, is the token, has it as its second one.
        sole: (V,) the spelling that the token is, where no other begins with it, else -1.
        group_of: (V,) group of the spellings that begin with it.
        group_start: groups + 1 offsets in the P spellings, the longest of a group first.
        lengths, spelled, bare: (P,), (P, longest) and (P,) their tokens, and whether no space leads.
        opening, closing: (V,) how a word joins the token behind it, and the token before it.

    Returns:
        Spelling, position, length and joint of each, (K,).
    """
    found = next_place = 0
    capacity = width + len(tokens) // 64
    spelling, length = np.empty(capacity, np.int32), np.empty(capacity, np.int32)
    position, joint = np.empty(capacity, np.int64), np.empty(capacity, np.uint8)
    candidates = np.empty(width + 1, np.int32)
    for begin in range(0, len(tokens), width):
        if found + width > capacity:
            more = capacity + width
            spelling = np.concatenate((spelling, np.empty(more, np.int32)))
            length = np.concatenate((length, np.empty(more, np.int32)))
            position = np.concatenate((position, np.empty(more, np.int64)))
            joint = np.concatenate((joint, np.empty(more, np.uint8)))
            capacity += more
        row = tokens[begin : begin + width]
        if everywhere:
            number = _columns(row, begins, candidates)
        else:
            number = 0
            while next_place < len(places) and places[next_place] < begin + width:
                column = places[next_place] - begin
                candidates[number] = column
                number += begins[row[column]]
                next_place += 1
        number = _sieve(row, alone, follows, candidates, number)
        reached = 0
        for index in range(number):
            column = candidates[index]
            if column < reached:
                continue
            choice = sole[row[column]]
            if choice >= 0:
                after = CUT if column + 1 == width else opening[row[column + 1]]
                before = FREE if not bare[choice] else CUT if column == 0 else closing[row[column - 1]]
                position[found], length[found], spelling[found] = begin + column, 1, choice
                joint[found] = max(before, after)
                found += before != WORD and after != WORD
                continue
            group = group_of[row[column]]
            for choice in range(group_start[group], group_start[group + 1]):
                stop = column + lengths[choice]
                if stop > width:
                    continue
                offset = 1
                while offset < lengths[choice] and row[column + offset] == spelled[choice, offset]:
                    offset += 1
                if offset < lengths[choice]:
                    continue
                after = CUT if stop == width else opening[row[stop]]
                before = FREE if not bare[choice] else CUT if column == 0 else closing[row[column - 1]]
                if before == WORD or after == WORD:
                    continue
                position[found], length[found], spelling[found] = begin + column, lengths[choice], choice
                joint[found] = max(before, after)
                found += 1
                reached = stop
                break
    return spelling[:found], position[:found], length[:found], joint[:found]


@njit(cache=True, nogil=True)
def _columns(row, begins, columns):
    """Fill `columns` with those at which a spelling may begin, and say how many. In most eights none does."""
    number = 0
    eights = len(row) // 8 * 8
    for i in range(0, eights, 8):
        a, b, c, d = begins[row[i]], begins[row[i + 1]], begins[row[i + 2]], begins[row[i + 3]]
        e, f, g, h = begins[row[i + 4]], begins[row[i + 5]], begins[row[i + 6]], begins[row[i + 7]]
        if a | b | c | d | e | f | g | h:
            for column in range(i, i + 8):
                columns[number] = column
                number += begins[row[column]]
    for column in range(eights, len(row)):
        columns[number] = column
        number += begins[row[column]]
    return number


@njit(cache=True, nogil=True)
def _sieve(row, alone, follows, columns, number):
    """Keep those of the first `number` columns whose second token may follow, and say how many. Without a branch."""
    kept = 0
    for index in range(number):
        column = columns[index]
        columns[kept] = column
        kept += alone[row[column]] | follows[row[min(column + 1, len(row) - 1)]]
    return kept


@njit(cache=True, nogil=True)
def examine(
    tokens, width, position, length, spelling, alert, ahead, ahead_2, behind, behind_2, title,
    may_be_independent, independent_before, noticed, choice,
):  # fmt: skip
    """What the tokens beside each word tell of it.

    Args:
        alert: (P,) bits of what may be said of a spelling: 1 it names a gender, 2 it may open a title, 4 anything.
        ahead, ahead_2, behind, behind_2: (V,) whether a coordination may go on so, one and two tokens away.
        title: (V,) whether a title may begin so.
        may_be_independent: (P,) whether the next token is asked for the choice.
        independent_before: (V,) its answer.
        noticed: (K,) filled with those bits that the tokens do not rule out; 1 by what is ahead, then 8 by what is
            behind. What it is, text decides.
        choice: (K,) filled with the answers, 0 where none is asked for.
    """
    if not alert.any() and not may_be_independent.any():
        noticed[:] = 0
        choice[:] = 0
        return
    row, final = 0, len(tokens) - 1
    for k in range(len(position)):
        start, kind = position[k], spelling[k]
        while start >= row + width:
            row += width
        end = start + length[k]
        inside = end < row + width
        after = tokens[min(end, final)]
        possible = alert[kind]
        bits = (possible & 4) | (possible & (ahead[after] | title[after] << 1) * inside)
        bits |= (possible & behind[tokens[max(start - 1, 0)]] & (start > row)) << 3
        if bits & 1 and end + 1 < row + width and not ahead_2[tokens[end + 1]]:
            bits ^= 1
        if bits & 8 and start - 2 >= row and not behind_2[tokens[start - 2]]:
            bits ^= 8
        noticed[k] = bits
        choice[k] = independent_before[after] * (may_be_independent[kind] & inside)


@njit(cache=True, nogil=True)
def settle(spelling, exempt, choice, fits, form_of, row_edge, too_long, outcome, target, label):
    """Fill the outcome of each word, its target 2 * spelling + (choice == 1), and its label 2 * form + (choice == 1).

    Args:
        exempt: (K,) the outcome that is known before a replacement is chosen; 0 none.
        choice: (K,) 0, 1, or 2 where the row ends too early to tell.
        fits: (2 * P,) whether a target has the length of its spelling.
        row_edge, too_long: the outcomes of choice 2, and of a target that does not fit.
    """
    for k in range(len(spelling)):
        other = choice[k] == 1
        target[k] = 2 * spelling[k] + other
        label[k] = 2 * form_of[spelling[k]] + other
        if exempt[k]:
            outcome[k] = exempt[k]
        elif choice[k] == 2:
            outcome[k] = row_edge
        elif not fits[target[k]]:
            outcome[k] = too_long
        else:
            outcome[k] = 0


@njit(cache=True, nogil=True)
def count_near(tokens, width, position, reach, counted):
    """(K,) how many `counted` (V,) tokens stand up to `reach` before or behind each position, within its row."""
    near = np.zeros(len(position), np.int64)
    for k in range(len(position)):
        column = position[k] % width
        begin = position[k] - column
        for place in range(max(0, column - reach), min(width, column + reach + 1)):
            near[k] += counted[tokens[begin + place]]
    return near


@njit(cache=True, nogil=True)
def document_starts(tokens, width, position, ends_document):
    """(K,) index in `tokens` at which each position's document begins, or its row where the document is older."""
    starts = np.empty(len(position), np.int64)
    reached, start, row = 0, 0, -1
    for k in range(len(position)):
        if position[k] // width != row:
            row = position[k] // width
            reached = start = row * width
        for place in range(position[k] - 1, reached - 1, -1):
            if ends_document[tokens[place]]:
                start = place + 1
                break
        reached = position[k]
        starts[k] = start
    return starts


@njit(cache=True, nogil=True)
def draw(seed, stream, keys):
    """(K,) numbers uniform in [0, 1), each a function of (seed, stream, key) alone: splitmix64 of the three."""
    drawn = np.empty(len(keys), np.float64)
    salt = _mixed(_mixed(np.uint64(seed) + _GOLDEN) + np.uint64(stream))
    for k in range(len(keys)):
        bits = _mixed(salt ^ _mixed(np.uint64(keys[k]) + _GOLDEN))
        drawn[k] = (bits >> np.uint64(11)) * (1.0 / 9007199254740992.0)
    return drawn


@njit(cache=True, nogil=True)
def deal(row, lots, feminine, dealt):
    """Fill `dealt` (K,): in each run of equal `row`, as many True as `feminine` has, where the lots are lowest."""
    begin = 0
    while begin < len(row):
        end = begin
        left = 0
        while end < len(row) and row[end] == row[begin]:
            left += feminine[end]
            end += 1
        order = np.argsort(lots[begin:end])
        for place in range(end - begin):
            dealt[begin + order[place]] = place < left
        begin = end


@njit(cache=True, nogil=True)
def _mixed(bits):
    bits = (bits ^ (bits >> np.uint64(30))) * _MIX_1
    bits = (bits ^ (bits >> np.uint64(27))) * _MIX_2
    return bits ^ (bits >> np.uint64(31))


@njit(cache=True, nogil=True)
def replace(tokens, position, length, target, outcome, target_tokens):
    """Write target_tokens[target[k]] over the `length[k]` tokens of each word of outcome 0."""
    for k in range(len(position)):
        if outcome[k] == 0:
            for offset in range(length[k]):
                tokens[position[k] + offset] = target_tokens[target[k], offset]


@njit(cache=True, nogil=True)
def mark(position, length, outcome, mask):
    """Set `mask` (S * W,) at the tokens of each word of outcome 0."""
    for k in range(len(position)):
        if outcome[k] == 0:
            for place in range(position[k], position[k] + length[k]):
                mask[place] = True


@njit(cache=True, nogil=True)
def group_tokens(swapped, width, reach, groups):
    """Fill `groups` (S * W,): SWAPPED, NEIGHBOURING up to `reach` tokens behind a swapped one, else OTHER."""
    for begin in range(0, len(swapped), width):
        left = 0
        for place in range(begin, begin + width):
            if swapped[place]:
                groups[place] = SWAPPED
                left = reach
            elif left > 0:
                groups[place] = NEIGHBOURING
                left -= 1
            else:
                groups[place] = OTHER
