"""What a token tells of a word beside it, and what is noticed of the word, as bits of one number."""

import numpy as np

# the rules that may hold
COORDINATION, TITLE, CAPITALS, CODE, TOUCHES, SYMBOL, LISTED, LANGUAGE, PRONOUN_SET = (
    np.uint32(1 << bit) for bit in range(9)
)
RULES = CODE | TOUCHES | SYMBOL | LANGUAGE | PRONOUN_SET
NAMES_BOTH = np.uint32(1 << 9)  # a coordination, for certain
HIDDEN = np.uint32(1 << 31)  # what would decide may lie beyond the row
# and what a token is to the word beside it
PASSES, JOINS, JOINS_ALONE, BLANK, POINT, QUOTE, AFTER_POINT, AFTER_QUOTE = (
    np.uint32(1 << bit) for bit in range(10, 18)
)
FREE_OPENING, CONTINUES, PARTICIPLE, LISTED_WORD, FIRST_PIECE, SECOND_PIECE, LATER_PIECE = (
    np.uint32(1 << bit) for bit in range(18, 25)
)
MASCULINE, FEMININE, MASCULINE_TITLE, FEMININE_TITLE = (np.uint32(1 << bit) for bit in range(25, 29))
# an adjective before a title; pieces of a title's word
OPENS_TITLE, FIRST_OF_TITLE, SECOND_OF_TITLE = (np.uint32(1 << bit) for bit in range(29, 32))
OF, ENDS_IN_LETTER, S_OF_SHE = OPENS_TITLE, CONTINUES, AFTER_POINT  # of a token before a word
AND = CAPITALS  # of a token
MOST_OF_A_WORD = 8  # tokens of a word that the edge of a row cuts in two, at one a byte
ASKS = RULES | AND | TITLE | OPENS_TITLE | FIRST_OF_TITLE | PASSES | JOINS | POINT | QUOTE | FIRST_PIECE
