"""The loops over tokens and over words that numpy cannot make in one pass, compiled with numba.

Legend: S rows of W tokens, as (S * W,) `tokens`; K words found; P spellings (ways in which a form occurs). All arrays
are contiguous. Compiled code is kept beside this file, or in the user's cache where that cannot be written to.
"""

import numpy as np

from interventions.compiled import njit

FREE, CUT, COMPOUND, WORD = 0, 1, 2, 3  # as `interventions.vocabulary.Joint`; the compiler wants plain numbers
OTHER, SWAPPED, NEIGHBOURING = 0, 1, 2  # as `interventions.ledger.GROUPS`

# bits of `interventions.sieve`: the rules that may hold
COORDINATION, TITLE, CAPITALS, CODE, TOUCHES, SYMBOL, LISTED, LANGUAGE, PRONOUN_SET = (
    *(1 << 0, 1 << 1, 1 << 2, 1 << 3, 1 << 4, 1 << 5, 1 << 6, 1 << 7, 1 << 8),
)
RULES = CODE | TOUCHES | SYMBOL | LANGUAGE | PRONOUN_SET
NAMES_BOTH, HIDDEN = 1 << 9, 1 << 31  # for certain: a coordination; what may be one beyond the row
# and what a token is to the word beside it
PASSES, JOINS, JOINS_ALONE, BLANK, POINT, QUOTE, AFTER_POINT, AFTER_QUOTE = (
    *(1 << 10, 1 << 11, 1 << 12, 1 << 13, 1 << 14, 1 << 15, 1 << 16, 1 << 17),
)
FREE_OPENING, CONTINUES, PARTICIPLE, LISTED_WORD, FIRST_PIECE, SECOND_PIECE, LATER_PIECE = (
    *(1 << 18, 1 << 19, 1 << 20, 1 << 21, 1 << 22, 1 << 23, 1 << 24),
)
MASCULINE, FEMININE, MASCULINE_TITLE, FEMININE_TITLE = 1 << 25, 1 << 26, 1 << 27, 1 << 28
OPENS_TITLE, FIRST_OF_TITLE, SECOND_OF_TITLE = 1 << 29, 1 << 30, 1 << 31  # an adjective; pieces of a title's word
OF, ENDS_IN_LETTER, S_OF_SHE = OPENS_TITLE, CONTINUES, AFTER_POINT  # of a token before a word
AND = CAPITALS  # of a token
MOST_OF_A_WORD = 8  # tokens of a word that the edge of a row cuts in two, at one a byte
ASKS = RULES | AND | TITLE | OPENS_TITLE | FIRST_OF_TITLE | PASSES | JOINS | POINT | QUOTE | FIRST_PIECE

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
def notice(
    tokens, width, position, length, spelling, alert, opposite, behind, before, may_be_independent, by_token, by_word,
    noticed, choice,
):  # fmt: skip
    """What the tokens beside each word do not rule out, by the bits of `interventions.sieve`.

    Args:
        alert: (P,) what may be said of a spelling.
        opposite: (P,) bits of the words that it may be coordinated with.
        behind, before: (V,) bits of a token that stands behind, before a word.
        may_be_independent: (P,) whether the next token that is not blank is asked for the choice.
        by_token, by_word: (V,) its answer, and where it is a whole word.
        noticed: (K,) filled with the rules that may hold; text decides.
        choice: (K,) filled with the answers, 0 where none is asked for.
    """
    row = 0
    for k in range(len(position)):
        start, kind = position[k], spelling[k]
        while start >= row + width:
            row += width
        end, edge = start + length[k], row + width
        possible, others = alert[kind], opposite[kind]
        bits = possible & CAPITALS
        if min(start - row, edge - end) <= MOST_OF_A_WORD:
            bits |= possible & (COORDINATION | TITLE)
        choice[k] = 0
        if end < edge:
            flags = behind[tokens[end]]
            if flags & ASKS:
                bits |= _told_behind(tokens, end, edge, flags, possible, others, behind)
            if possible & LISTED and (flags & PARTICIPLE or (end + 1 < edge and behind[tokens[end + 1]] & CONTINUES)):
                bits |= _participle(tokens, end, edge, behind)
            if may_be_independent[kind]:
                choice[k] = by_token[tokens[end]]
                if choice[k] == 2 or flags & BLANK:
                    after_of = start > row and before[tokens[start - 1]] & OF != 0
                    choice[k] = _independent(tokens, end, edge, behind, by_token, by_word, after_of)
        if start > row:
            flags = before[tokens[start - 1]]
            if flags & ASKS:
                bits |= _told_before(tokens, start - 1, row, flags, others, before)
        elif others:
            bits |= HIDDEN
        noticed[k] = bits & (possible | NAMES_BOTH | HIDDEN)


@njit(cache=True, nogil=True)
def _told_behind(tokens, place, edge, flags, possible, others, behind):
    """The rules that the tokens from `place` on do not rule out; `flags` are those of the first."""
    bits = flags & RULES
    following = behind[tokens[place + 1]] if place + 1 < edge else 0
    if following & CONTINUES:
        bits &= ~LANGUAGE
    if flags & FIRST_PIECE and following & SECOND_PIECE:
        bits |= SYMBOL
    if (flags & POINT and following & AFTER_POINT) or (flags & QUOTE and following & AFTER_QUOTE):
        bits |= CODE
    if others and flags & _passing(others):
        alone = flags & JOINS_ALONE and following & others and place + 2 < edge
        if alone and behind[tokens[place + 2]] & FREE_OPENING:
            return NAMES_BOTH
        bits |= _walk(tokens, place, 1, edge - place, others, behind)
    if possible & TITLE:
        while place < edge and behind[tokens[place]] & PASSES:
            place += 1
        bits |= TITLE * (place == edge or _begins_title(tokens, place, edge, behind))
    return bits


@njit(cache=True, nogil=True)
def _told_before(tokens, place, row, flags, others, before):
    """The same of the tokens that end with `place`."""
    bits = flags & RULES
    preceding = before[tokens[place - 1]] if place > row else 0
    if flags & FIRST_PIECE and preceding & SECOND_PIECE:
        bits |= SYMBOL | CODE
    if flags & QUOTE and preceding & AFTER_QUOTE:
        bits |= TOUCHES
    if others and flags & _passing(others):
        if flags & JOINS_ALONE and preceding & others and preceding & FREE_OPENING:
            return NAMES_BOTH
        bits |= _walk(tokens, place, -1, place - row + 1, others, before)
    return bits


@njit(cache=True, nogil=True)
def _stands(tokens, place, step, number, bit, flags):
    """Whether a word of this kind may begin, or end, at `place`."""
    here = flags[tokens[place]]
    opened = step > 0 or number == 1 or here & FREE_OPENING or not flags[tokens[place - 1]] & ENDS_IN_LETTER
    if here & bit and opened:
        return True
    return here & FIRST_PIECE != 0 and number > 1 and flags[tokens[place + step]] & SECOND_PIECE != 0


@njit(cache=True, nogil=True)
def _begins_title(tokens, place, edge, behind):
    """Whether the words from `place` on may be a title: a noun, or an adjective and more."""
    here = behind[tokens[place]]
    if here & TITLE or place + 1 == edge:
        return here & (TITLE | OPENS_TITLE | FIRST_OF_TITLE) != 0
    following = behind[tokens[place + 1]]
    if here & OPENS_TITLE and following & (TITLE | OPENS_TITLE | FIRST_OF_TITLE | JOINS | PASSES):
        return True
    return here & FIRST_OF_TITLE != 0 and following & SECOND_OF_TITLE != 0


@njit(cache=True, nogil=True)
def _passing(others):
    """Bits of what may stand within a coordination; behind a title, a point may."""
    return PASSES | JOINS | AND | POINT * (others & (MASCULINE_TITLE | FEMININE_TITLE) != 0)


@njit(cache=True, nogil=True)
def _walk(tokens, place, step, number, others, flags):
    """Whether a coordination may begin at `place`: connectors, then a word of the other gender or the row's edge, which
    may cut that word in two.
    """
    joins = JOINS | AND * (others & (MASCULINE_TITLE | FEMININE_TITLE) != 0)
    joined = listed = False
    for walked in range(number):
        here = flags[tokens[place]]
        if joined and _stands(tokens, place, step, number - walked, others, flags):
            return COORDINATION | LISTED
        if joined and step < 0 and here & S_OF_SHE:
            return COORDINATION
        is_listed = LISTED * (listed and here & LISTED_WORD != 0)
        if is_listed or not here & _passing(others):
            return is_listed | COORDINATION * (joined and number - walked <= MOST_OF_A_WORD)
        joined |= here & joins != 0
        listed |= here & (JOINS | AND) != 0
        place += step
    return COORDINATION


@njit(cache=True, nogil=True)
def _participle(tokens, place, edge, behind):
    """LANGUAGE where the next word may end as a Spanish participle does."""
    if behind[tokens[place]] & PARTICIPLE:
        return LANGUAGE
    last = place
    while last + 1 < edge and behind[tokens[last + 1]] & CONTINUES:
        last += 1
    return LANGUAGE if last > place and behind[tokens[last]] & PARTICIPLE else 0


@njit(cache=True, nogil=True)
def _independent(tokens, place, edge, behind, by_token, by_word, after_of):
    """What the next token that is not blank, and whether it is a word by itself, tell of a possessive."""
    while place + 1 < edge and behind[tokens[place]] & BLANK:
        place += 1
    told = by_token[tokens[place]]
    if told == 2 and place + 1 < edge and not behind[tokens[place]] & POINT:
        following = behind[tokens[place + 1]]
        if following & CONTINUES and not following & LATER_PIECE:
            return 0
        if following & FREE_OPENING and not following & CONTINUES and not after_of:
            return by_word[tokens[place]]
    return told


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
def weigh_near(tokens, width, position, reach, weight, ends_document):
    """(K,) sum of the weights (V,) of the tokens up to `reach` before and behind each position, within its document."""
    sums = np.zeros(len(position), np.int64)
    for k in range(len(position)):
        begin = position[k] // width * width
        for place in range(position[k] - 1, max(begin, position[k] - reach) - 1, -1):
            if ends_document[tokens[place]]:
                break
            sums[k] += weight[tokens[place]]
        for place in range(position[k] + 1, min(begin + width, position[k] + reach + 1)):
            if ends_document[tokens[place]]:
                break
            sums[k] += weight[tokens[place]]
    return sums


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
