"""Where the words of a lexicon stand in rows of tokens: whole words only, found by their token ids.

Legend: S rows, W tokens in a row, K matches. Tables over the vocabulary do the bulk; only the few places where one
token does not decide are decoded.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerBase

from interventions.positions import places_where
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
        self._begins, self._alone, self._follows = np.zeros((3, vocabulary.size), np.bool_)
        self._first_choice, self._choices = np.zeros((2, vocabulary.size), np.int32)
        for index, spelling in reversed(list(enumerate(self.spellings))):
            first = spelling.tokens[0]
            self._spelled[index, : len(spelling.tokens)] = spelling.tokens
            self._begins[first] = True
            self._first_choice[first] = index
            self._choices[first] += 1
            if len(spelling.tokens) == 1:
                self._alone[first] = True
            else:
                self._follows[spelling.tokens[1]] = True

    def find(self, rows: NDArray[np.integer], *, at: NDArray[np.int64] | None = None) -> Matches:
        """All occurrences as whole words in (S, W) contiguous rows of known ids.

        Args:
            at: only those that begin at these positions, counted through all rows and sorted.
        """
        tokens = rows.reshape(-1)
        places = places_where(self._begins, tokens) if at is None else at[self._begins[tokens[at]]]
        following = tokens[np.minimum(places + 1, len(tokens) - 1)]
        places = places[self._alone[tokens[places]] | self._follows[following]]
        matches = _without_overlaps(self._longest_that_stand(rows, places))
        for match in np.flatnonzero(matches.joint == Joint.UNCLEAR):
            matches.joint[match] = self._look_around(rows, matches, match)
        parts = matches.joint == Joint.WORD
        return matches[~parts] if parts.any() else matches

    def _longest_that_stand(self, rows: NDArray[np.integer], places: NDArray[np.int64]) -> Matches:
        """At each place the longest spelling that stands there and is not known to be a part of a word."""
        tokens = rows.reshape(-1)
        room = rows.shape[1] - places % rows.shape[1]  # tokens to the end of the row
        choice = self._first_choice[tokens[places]]
        stop = choice + self._choices[tokens[places]]
        found = []
        while len(places):
            joint = np.full(len(places), Joint.WORD, np.uint8)
            stands = self._stand(tokens, places, room, choice)
            joint[stands] = self._joints(rows, places[stands], room[stands], choice[stands])
            whole = joint != Joint.WORD
            found.append(Matches(choice[whole], places[whole], self.lengths[choice[whole]], joint[whole]))
            others = ~whole & (choice + 1 < stop)
            places, room, choice, stop = places[others], room[others], choice[others] + 1, stop[others]
        return _in_order(found)

    def _stand(
        self, tokens: NDArray[np.integer], places: NDArray[np.int64], room: NDArray[np.int64], choice: NDArray[np.int32]
    ) -> NDArray[np.bool_]:
        """(N,) whether all tokens of a spelling stand at a place, in one row; its first one does."""
        length = self.lengths[choice]
        stands: NDArray[np.bool_] = length <= room
        for offset in range(1, int(length.max())):
            asked = np.flatnonzero(stands & (length > offset))
            stands[asked] = tokens[places[asked] + offset] == self._spelled[choice[asked], offset]
        return stands

    def _joints(
        self, rows: NDArray[np.integer], places: NDArray[np.int64], room: NDArray[np.int64], choice: NDArray[np.int32]
    ) -> NDArray[np.uint8]:
        """(N,) how the spellings join the tokens on both sides of them, as far as single tokens tell."""
        tokens, length = rows.reshape(-1), self.lengths[choice]
        after = self.vocabulary.opening[tokens.take(places + length, mode="clip")]
        after[length == room] = Joint.CUT
        before = np.full(len(places), Joint.FREE, np.uint8)
        bare = np.flatnonzero(self._bare[choice])
        before[bare] = self.vocabulary.closing[tokens[places[bare] - 1]]
        before[bare[room[bare] == rows.shape[1]]] = Joint.CUT
        joint: NDArray[np.uint8] = np.maximum(before, after)
        joint[(before == Joint.WORD) | (after == Joint.WORD)] = Joint.WORD
        return joint

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


def _in_order(found: Sequence[Matches]) -> Matches:
    """Those of several groups, by position."""
    matches = Matches(
        np.concatenate([np.zeros(0, np.int32), *(each.spelling for each in found)]),
        np.concatenate([np.zeros(0, np.int64), *(each.position for each in found)]),
        np.concatenate([np.zeros(0, np.int32), *(each.length for each in found)]),
        np.concatenate([np.zeros(0, np.uint8), *(each.joint for each in found)]),
    )
    return matches[np.argsort(matches.position, kind="stable")]


def _without_overlaps(matches: Matches) -> Matches:
    """Without those that begin within one before them that stays."""
    while True:
        reached = np.maximum.accumulate(matches.position + matches.length)
        within = matches.position[1:] < reached[:-1]
        if not within.any():
            return matches
        first = within & ~np.concatenate([[False], within[:-1]])  # of each run: the one before it stays
        matches = matches[np.concatenate([[True], ~first])]
