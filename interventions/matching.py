"""Where the words of a lexicon stand in rows of tokens: whole words only, found by their token ids.

Legend: S rows, W tokens in a row, K matches. Tables over the vocabulary do the bulk; only the few places where one
token does not decide are decoded.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerBase

from interventions.kernels import find_words
from interventions.text_kernels import look_around
from interventions.vocabulary import RULED_LINE, Joint, Vocabulary, canonical_tokens, joint

_LOOK_BYTES = RULED_LINE + 4  # the character behind underscores or a hyphen has at most four


@dataclass(frozen=True)
class Spelling:
    """One way in which a form occurs.

    Attributes:
        form: index of the word in the list of forms.
        lead: the character before the form that belongs to its first token: " ", or "'" where a form begins like the
            ending of a contraction ("'she" is "'s" and "he"); "" where it is bare ("he" after a quote).
        tokens: its ids, those of the lead among them.
    """

    form: int
    lead: str
    tokens: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Matches:
    """Occurrences in the order of the text; no two share a token.

    Attributes:
        spelling: (K,) index in `Matcher.spellings`.
        position: (K,) of the first token, counted through all rows.
        length: (K,) tokens of the occurrence.
        joint: (K,) `Joint.FREE`, `CUT` or `COMPOUND`, the greater one of both sides.
    """

    spelling: NDArray[np.int32]
    position: NDArray[np.int64]
    length: NDArray[np.int32]
    joint: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.position)

    def __getitem__(self, chosen: NDArray[np.bool_] | NDArray[np.intp]) -> "Matches":
        return Matches(self.spelling[chosen], self.position[chosen], self.length[chosen], self.joint[chosen])


class Matcher:
    """Finds forms by their canonical tokenisation, with and without a leading space.

    A pre-tokenizer of the GPT-2 kind sets a whole word apart from all around it, so its tokens are always the same; but
    for a contraction's ending ('s, 't, 'm, 'd, 're, 've, 'll), which it cuts off any word that begins so.

    Raises:
        UserError: the tokenizer does not keep text as it is.
    """

    def __init__(self, forms: Sequence[str], *, tokenizer: PreTrainedTokenizerBase, vocabulary: Vocabulary) -> None:
        self.vocabulary = vocabulary
        spellings = [
            Spelling(form, lead, canonical_tokens(lead + word, tokenizer, vocabulary))
            for form, word in enumerate(forms)
            for lead in ("", " ", "'")
        ]
        bare = {spelling.form: spelling.tokens for spelling in spellings if spelling.lead == ""}
        apostrophe = canonical_tokens("'", tokenizer, vocabulary)
        spellings = [s for s in spellings if s.lead != "'" or s.tokens != apostrophe + bare[s.form]]
        # those with the same first token together, the longest first
        self.spellings = tuple(sorted(spellings, key=lambda s: (s.tokens[0], -len(s.tokens), s.form)))
        self.lengths = np.array([len(spelling.tokens) for spelling in self.spellings], np.int32)
        self.forms = np.array([spelling.form for spelling in self.spellings], np.int32)
        self._bare = np.array([spelling.lead == "" for spelling in self.spellings])
        self._spelled = np.zeros((len(self.spellings), max(self.lengths, default=1)), np.int64)
        self._begins, self._alone, self._follows = np.zeros((3, vocabulary.size), np.uint8)
        self._group_of = np.zeros(vocabulary.size, np.int32)
        self._sole = np.full(vocabulary.size, -1, np.int32)
        starts = [0]
        for group, (first, members) in enumerate(groupby(self.spellings, key=lambda spelling: spelling.tokens[0])):
            self._group_of[first] = group
            group_lengths = [len(spelling.tokens) for spelling in members]
            if group_lengths == [1]:
                self._sole[first] = starts[-1]
            starts.append(starts[-1] + len(group_lengths))
        self._group_start = np.array(starts, np.int64)
        for index, spelling in enumerate(self.spellings):
            self._spelled[index, : len(spelling.tokens)] = spelling.tokens
            self._begins[spelling.tokens[0]] = 1
            if len(spelling.tokens) == 1:
                self._alone[spelling.tokens[0]] = 1
            else:
                self._follows[spelling.tokens[1]] = 1

    def find(self, rows: NDArray[np.integer], *, at: NDArray[np.int64] | None = None) -> Matches:
        """All occurrences as whole words in (S, W) contiguous rows of known ids.

        Args:
            at: only those that begin at these positions, counted through all rows and sorted.
        """
        tokens, width = rows.reshape(-1), rows.shape[1]
        places = np.zeros(0, np.int64) if at is None else at[self._begins[tokens[at]] != 0]
        matches = Matches(
            *find_words(
                *(tokens, width, at is None, places),
                *(self._begins, self._alone, self._follows, self._sole, self._group_of, self._group_start),
                *(self.lengths, self._spelled, self._bare, self.vocabulary.opening, self.vocabulary.closing),
            )
        )
        look_around(
            *(tokens, width, matches.position, matches.length, matches.spelling),
            *(self._bare, self.vocabulary.flat, matches.joint),
        )
        for match in np.flatnonzero(matches.joint == Joint.UNCLEAR):
            matches.joint[match] = self._look_around(rows, matches, match)
        parts = matches.joint == Joint.WORD
        return matches[~parts] if parts.any() else matches

    def _look_around(self, rows: NDArray[np.integer], matches: Matches, match: np.intp) -> Joint:
        """The greater joint of both sides, from their text."""
        row, start = divmod(int(matches.position[match]), rows.shape[1])
        stop = start + int(matches.length[match])
        text, ended = self.vocabulary.text_after(rows[row], stop, enough=_LOOK_BYTES)
        after = joint(text, ended=ended)
        if not self._bare[matches.spelling[match]]:
            return after
        text, ended = self.vocabulary.text_before(rows[row], start, enough=_LOOK_BYTES)
        return max(after, joint(text[::-1], ended=ended))
