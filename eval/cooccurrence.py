"""Pronouns in sentences that name a term, counted in rows of token ids.

A sentence ends at a full stop, question or exclamation mark that is followed by a blank, at an empty line, and at the
end of a document or row; a line end alone ends none. A term counts as a whole word, in lower case or with a capital
letter, and not in the plural. Pronouns count as whole words in any case.

Legend: R rows, W tokens in a row, V tokens of the vocabulary.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from transformers import PreTrainedTokenizerBase

from eval.held_out import FEMININE, MASCULINE

_ROWS_AT_ONCE = 2048
_CLOSING = r"[\"'”’)\]]"
_IN_WORD = r"[\w\ufffd]"  # with a part of a character that continues in the next token

Ids = npt.NDArray[np.integer]
Flags = npt.NDArray[np.bool_]


def count_pronouns(token_rows: Ids, terms: Sequence[str], tokenizer: PreTrainedTokenizerBase) -> pd.DataFrame:
    """For each term how many sentences of the rows name it beside a pronoun, and how many pronouns these hold.

    Args:
        token_rows: (R, W), of the tokenizer.
        terms: in lower case, each once.

    Returns:
        Columns term, sentences, feminine and masculine; a sentence that names a term twice counts once.
    """
    vocabulary = _Vocabulary.of(tokenizer)
    words = [_forms([term], tokenizer) for term in terms]
    genders = [_forms([*gender, *map(str.upper, gender)], tokenizer) for gender in (FEMININE, MASCULINE)]
    counts_T3 = np.zeros((len(terms), 3), np.int64)
    for start in range(0, len(token_rows), _ROWS_AT_ONCE):
        text = _Text.of(np.asarray(token_rows[start : start + _ROWS_AT_ONCE]), vocabulary, [*words, *genders])
        pronouns = np.stack([np.bincount(text.sentences(forms), minlength=text.size) for forms in genders])
        for term, forms in enumerate(words):
            named = np.unique(text.sentences(forms))
            with_pronoun = named[pronouns[:, named].any(axis=0)]
            counts_T3[term] += len(with_pronoun), *pronouns[:, with_pronoun].sum(axis=1)
    sentences, feminine, masculine = counts_T3.T
    return pd.DataFrame({"term": list(terms), "sentences": sentences, "feminine": feminine, "masculine": masculine})


def _forms(words: Sequence[str], tokenizer: PreTrainedTokenizerBase) -> list[tuple[int, ...]]:
    """The token ids that a word may have: after a blank and without, as it is and with a capital letter."""
    texts = [before + each for word in words for before in (" ", "") for each in (word, word[:1].upper() + word[1:])]
    return list(dict.fromkeys(tuple(tokenizer.encode(text, add_special_tokens=False)) for text in texts))


@dataclass(frozen=True, eq=False)
class _Vocabulary:
    """(V,) flags of every token.

    Attributes:
        begins_in_word, ends_in_word: whether its first, its last character belongs to a word.
        begins_blank: whether it begins with a blank or a line end.
        blank: whether it is blanks and nothing else.
        closes: whether it ends in a mark that closes a sentence, if a blank follows.
        quotes: whether it is a closing quotation mark or bracket, which may stand between that mark and the blank.
        breaks: whether it ends a sentence whatever follows.
        begins_line, ends_line: whether nothing but blanks stands before a line end in it, or behind one.
    """

    begins_in_word: Flags
    ends_in_word: Flags
    begins_blank: Flags
    blank: Flags
    closes: Flags
    quotes: Flags
    breaks: Flags
    begins_line: Flags
    ends_line: Flags

    @classmethod
    def of(cls, tokenizer: PreTrainedTokenizerBase) -> "_Vocabulary":
        ids = [[token] for token in range(len(tokenizer))]
        texts = tokenizer.batch_decode(ids, clean_up_tokenization_spaces=False)
        breaks = np.array([bool(re.search(r"\n\s*\n", text)) for text in texts])
        breaks[[token for token in {tokenizer.bos_token_id, tokenizer.eos_token_id} if token is not None]] = True
        return cls(
            begins_in_word=np.array([bool(re.match(_IN_WORD, text)) for text in texts]),
            ends_in_word=np.array([bool(re.search(rf"{_IN_WORD}$", text)) for text in texts]),
            begins_blank=np.array([text[:1].isspace() for text in texts]),
            blank=np.array([bool(re.fullmatch(r"[^\S\n]+", text)) for text in texts]),
            closes=np.array([bool(re.search(rf"[.!?]{_CLOSING}*\s*$", text)) for text in texts]),
            quotes=np.array([bool(re.fullmatch(rf"{_CLOSING}+", text)) for text in texts]),
            breaks=breaks,
            begins_line=np.array([bool(re.match(r"[^\S\n]*\n", text)) for text in texts]),
            ends_line=np.array([bool(re.search(r"\n[^\S\n]*$", text)) for text in texts]),
        )


@dataclass(frozen=True, eq=False)
class _Text:
    """Rows, one after the other.

    Attributes:
        tokens: (R * W,) ids.
        sentence: (R * W,) number of the sentence that each is in.
        continued: (R * W,) whether the next token continues a word.
        places: where a word may begin that is looked for, sorted by token.
    """

    tokens: Ids
    sentence: npt.NDArray[np.int64]
    continued: Flags
    places: npt.NDArray[np.int64]

    @classmethod
    def of(cls, rows: Ids, vocabulary: _Vocabulary, words: Sequence[Sequence[tuple[int, ...]]]) -> "_Text":
        tokens = rows.reshape(-1)
        first = np.arange(len(tokens)) % rows.shape[1] == 0
        last = np.roll(first, -1)
        in_word = vocabulary.begins_in_word[tokens]
        begins = ~in_word | first | ~np.roll(vocabulary.ends_in_word[tokens], 1)
        breaks = vocabulary.breaks[tokens]
        closes = vocabulary.closes[tokens]
        closes |= vocabulary.quotes[tokens] & np.roll(closes, 1)
        stops = closes & np.roll(vocabulary.begins_blank[tokens], -1)
        before_blanks = np.maximum.accumulate(np.where(vocabulary.blank[tokens], 0, np.arange(len(tokens))))
        stops |= vocabulary.ends_line[tokens[before_blanks]] & np.roll(vocabulary.begins_line[tokens], -1)
        stops |= breaks | np.roll(breaks, -1) | last
        sought = np.zeros(len(vocabulary.closes), bool)
        sought[[form[0] for forms in words for form in forms]] = True
        places = np.flatnonzero(sought[tokens] & begins)
        return cls(
            tokens=tokens,
            sentence=np.cumsum(stops) - stops,
            continued=np.roll(in_word, -1) & ~last,
            places=places[np.argsort(tokens[places], kind="stable")],
        )

    @property
    def size(self) -> int:
        """Sentences."""
        return int(self.sentence[-1]) + 1

    def sentences(self, forms: Sequence[tuple[int, ...]]) -> npt.NDArray[np.int64]:
        """The sentence of each place where a word stands, whole, in one of its forms."""
        ends = np.unique(np.concatenate([self._ends(form) for form in forms]))  # " HE" may be cut as " " and "HE"
        return np.asarray(self.sentence[ends])

    def _ends(self, form: tuple[int, ...]) -> npt.NDArray[np.int64]:
        low, high = np.searchsorted(self.tokens[self.places], [form[0], form[0] + 1])
        starts = self.places[low:high]
        for offset, token in enumerate(form[1:], start=1):
            starts = starts[starts + offset < len(self.tokens)]
            starts = starts[self.tokens[starts + offset] == token]
        ends = starts + len(form) - 1
        return np.asarray(ends[~self.continued[ends] & (self.sentence[starts] == self.sentence[ends])])
