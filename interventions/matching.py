"""Where the words of a lexicon stand in rows of tokens: whole words only, found by their token ids.

Legend: S rows, W tokens in a row, K matches. Tables over the vocabulary do the bulk; only the few places where one
token does not decide are decoded.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerBase

from interventions.vocabulary import Joint, Vocabulary, canonical_tokens, joint

_LOOK_TOKENS = 8  # a token holds at least one byte, and a hyphen with the character behind it at most seven


@dataclass(frozen=True)
class Spelling:
    """One way in which a form occurs.

    Attributes:
        form: index of the word in the list of forms.
        led: whether a leading space belongs to its first token (" he"); otherwise it is bare ("he" after a quote).
        tokens: its ids.
    """

    form: int
    led: bool
    tokens: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Matches:
    """Occurrences in the order of the text.

    Attributes:
        spelling: (K,) index in `Matcher.spellings`.
        position: (K,) of the first token, counted through all rows.
        length: (K,) tokens of the occurrence.
        joint: (K,) `Joint.FREE`, `CUT` or `COMPOUND`, the greater one of both sides.
    """

    spelling: NDArray[np.intp]
    position: NDArray[np.intp]
    length: NDArray[np.intp]
    joint: NDArray[np.uint8]

    def __getitem__(self, chosen: NDArray[np.bool_] | NDArray[np.intp]) -> "Matches":
        return Matches(self.spelling[chosen], self.position[chosen], self.length[chosen], self.joint[chosen])


class Matcher:
    """Finds forms by their canonical tokenisation, with and without a leading space.

    A pre-tokenizer of the GPT-2 kind sets a whole word apart from all around it, so its tokens are always the same.

    Raises:
        UserError: the tokenizer does not keep text as it is.
    """

    def __init__(self, forms: Sequence[str], *, tokenizer: PreTrainedTokenizerBase, vocabulary: Vocabulary) -> None:
        self.vocabulary = vocabulary
        self.spellings = tuple(
            Spelling(form, led, canonical_tokens(" " + word if led else word, tokenizer, vocabulary))
            for form, word in enumerate(forms)
            for led in (False, True)
        )
        self._lengths = np.array([len(spelling.tokens) for spelling in self.spellings], np.intp)
        self._starts_form = np.zeros(vocabulary.size, np.bool_)
        self._starts_form[[spelling.tokens[0] for spelling in self.spellings]] = True

    def find(self, rows: NDArray[np.integer]) -> Matches:
        """All occurrences as whole words in (S, W) contiguous rows of known ids."""
        candidates = self._candidates(rows)
        after, before = self._joint_after(rows, candidates), self._joint_before(rows, candidates)
        joints = np.maximum(after, before)
        matches = Matches(candidates.spelling, candidates.position, candidates.length, joints)
        return _one_per_word(matches[joints != Joint.WORD])

    def _candidates(self, rows: NDArray[np.integer]) -> Matches:
        """Places where the ids of a spelling stand, whatever surrounds them; `joint` is not yet known."""
        tokens, width = rows.reshape(-1), rows.shape[1]
        places = np.flatnonzero(self._starts_form.take(tokens))
        first = tokens[places]
        spellings, positions = [], []
        for index, spelling in enumerate(self.spellings):
            found = places[first == spelling.tokens[0]]
            found = found[found % width + len(spelling.tokens) <= width]
            for offset, token in enumerate(spelling.tokens[1:], start=1):
                found = found[tokens[found + offset] == token]
            spellings.append(np.full(len(found), index, np.intp))
            positions.append(found)
        spelling_K = np.concatenate(spellings)
        unknown = np.full(len(spelling_K), Joint.UNCLEAR, np.uint8)
        return Matches(spelling_K, np.concatenate(positions), self._lengths[spelling_K], unknown)

    def _joint_after(self, rows: NDArray[np.integer], matches: Matches) -> NDArray[np.uint8]:
        row, stop = _row_and_stop(matches, rows.shape[1])
        joints = np.full(len(stop), Joint.CUT, np.uint8)
        inside = stop < rows.shape[1]
        joints[inside] = self.vocabulary.opening[rows[row[inside], stop[inside]]]
        for match in np.flatnonzero(joints == Joint.UNCLEAR):
            text, ended = self.vocabulary.text_after(rows[row[match]], int(stop[match]), limit=_LOOK_TOKENS)
            joints[match] = joint(text, ended=ended)
        return joints

    def _joint_before(self, rows: NDArray[np.integer], matches: Matches) -> NDArray[np.uint8]:
        row, start = np.divmod(matches.position, rows.shape[1])
        bare = np.array([not spelling.led for spelling in self.spellings])[matches.spelling]
        joints = np.where(bare, Joint.CUT, Joint.FREE).astype(np.uint8)
        inside = bare & (start > 0)
        joints[inside] = self.vocabulary.closing[rows[row[inside], start[inside] - 1]]
        for match in np.flatnonzero(joints == Joint.UNCLEAR):
            text, ended = self.vocabulary.text_before(rows[row[match]], int(start[match]), limit=_LOOK_TOKENS)
            joints[match] = joint(text[::-1], ended=ended)
        return joints


def _row_and_stop(matches: Matches, width: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Row of each match, and the column behind its last token (`width` where the row ends with it)."""
    row, start = np.divmod(matches.position, width)
    return row, start + matches.length


def _one_per_word(matches: Matches) -> Matches:
    """Sort by position; of " him" = (" ", "him") and the bare "him" in it keep the longer."""
    stop = matches.position + matches.length
    order = np.lexsort((-matches.length, stop))
    _, first = np.unique(stop[order], return_index=True)
    return matches[order[first]]
