"""Replace pronouns in rows of token ids.

The case study swapped "masculine" for "feminine" pronouns in the last part of Pythia's data (Biderman et al. 2023,
section 3.1), but its code was not released. So the definition is our own: whole words, case and leading space kept,
rows of unchanged length, every occurrence swapped or counted with the reason why not.

Legend: S rows, W tokens in a row, K matches, F forms. A *target* is a choice of replacement for a spelling: number
2 * spelling + 1 where the form stands independently (his -> hers), else 2 * spelling (his -> her).
"""

from collections.abc import Sequence
from dataclasses import asdict
from typing import TypeVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerBase

from interventions.intervention import identity_of
from interventions.ledger import SKIP_REASONS, Ledger, counts_frame
from interventions.lexicon import INDEPENDENT_BEFORE, SENTENCE_MARKS, Pair, in_every_case, stands_independently
from interventions.matching import Matcher, Matches
from interventions.vocabulary import Joint, Vocabulary, canonical_tokens, complete_text

Ids = TypeVar("Ids", bound=np.integer)

_SWAPPED = 0
_COMPOUND, _ROW_EDGE, _LENGTH = (1 + SKIP_REASONS.index(reason) for reason in ("compound", "row_edge", "length"))
_UNSETTLED = 2
_LOOK_TOKENS = 8


class PronounSwap:
    """Replaces every whole-word occurrence of the forms of `pairs`, in every case, where its length allows.

    What is skipped before its replacement is chosen counts under `Pair.replacement`.

    Raises:
        UserError: the tokenizer is no byte-level BPE that keeps text as it is; on a call, rows of another vocabulary.
    """

    def __init__(
        self, name: str, pairs: Sequence[Pair], *, tokenizer: PreTrainedTokenizerBase, vocabulary: Vocabulary
    ) -> None:
        self.name = name
        self._vocabulary = vocabulary
        self._pairs = in_every_case(pairs)
        self._matcher = Matcher([pair.form for pair in self._pairs], tokenizer=tokenizer, vocabulary=vocabulary)
        targets = [
            canonical_tokens(" " * spelling.led + word, tokenizer, vocabulary)
            for spelling in self._matcher.spellings
            for word in _replacements(self._pairs[spelling.form])
        ]
        self._target_lengths = np.array([len(target) for target in targets], np.intp)
        self._target_tokens = np.zeros((len(targets), self._target_lengths.max()), np.int64)
        for index, target in enumerate(targets):
            self._target_tokens[index, : len(target)] = target
        self._form_of = np.array([spelling.form for spelling in self._matcher.spellings], np.intp)
        self._has_choice = np.array([pair.independent is not None for pair in self._pairs])[self._form_of]
        self._independent_before = _independence_by_next_token(vocabulary)
        self.identity = identity_of(
            name,
            vocabulary=vocabulary.fingerprint,
            tables={
                "pairs": [asdict(pair) for pair in self._pairs],
                "spellings": [asdict(spelling) for spelling in self._matcher.spellings],
                "targets": targets,
                "independent_before": INDEPENDENT_BEFORE,
                "sentence_marks": SENTENCE_MARKS,
            },
        )

    def __call__(self, rows: NDArray[Ids], *, first_row: int) -> tuple[NDArray[Ids], Ledger]:
        self._vocabulary.check(rows)
        rows = np.ascontiguousarray(rows)
        matches = self._matcher.find(rows)
        outcome = np.select(
            [matches.joint == Joint.COMPOUND, matches.joint == Joint.CUT], [_COMPOUND, _ROW_EDGE], default=_SWAPPED
        )
        independent = self._independence(
            rows, matches, asked=(outcome == _SWAPPED) & self._has_choice[matches.spelling]
        )
        outcome[independent == _UNSETTLED] = _ROW_EDGE
        target = 2 * matches.spelling + (independent == 1)
        outcome[(outcome == _SWAPPED) & (self._target_lengths[target] != matches.length)] = _LENGTH

        done = outcome == _SWAPPED
        swapped_rows, mask = self._replace(rows, matches[done], target[done])
        label = 2 * self._form_of[matches.spelling] + (independent == 1)
        return swapped_rows, Ledger(mask, self._count(label, outcome))

    def _independence(
        self, rows: NDArray[np.integer], matches: Matches, *, asked: NDArray[np.bool_]
    ) -> NDArray[np.uint8]:
        """(K,) 1 where the form stands independently, `_UNSETTLED` where the row ends too early to tell, else 0."""
        found = np.zeros(len(matches.spelling), np.uint8)
        stop = (matches.position + matches.length)[asked]
        found[asked] = self._independent_before[rows.reshape(-1)[stop]]
        for match in np.flatnonzero(found == _UNSETTLED):
            row, column = divmod(int(matches.position[match] + matches.length[match]), rows.shape[1])
            found[match] = self._look_ahead(rows[row], column)
        return found

    def _look_ahead(self, row: NDArray[np.integer], column: int) -> int:
        for limit in (_LOOK_TOKENS, len(row)):
            text, ended = self._vocabulary.text_after(row, column, limit=limit)
            verdict = stands_independently(text, ended=ended)
            if verdict is not None:
                return int(verdict)
        return _UNSETTLED

    def _replace(
        self, rows: NDArray[Ids], matches: Matches, target: NDArray[np.intp]
    ) -> tuple[NDArray[Ids], NDArray[np.bool_]]:
        """New rows with `target` in the place of each match, and the mask (S, W) of tokens replaced."""
        swapped_rows, mask = rows.copy(), np.zeros(rows.shape, np.bool_)
        for offset in range(int(matches.length.max(initial=0))):
            reached = matches.length > offset
            positions = matches.position[reached] + offset
            swapped_rows.reshape(-1)[positions] = self._target_tokens[target[reached], offset]
            mask.reshape(-1)[positions] = True
        return swapped_rows, mask

    def _count(self, label: NDArray[np.intp], outcome: NDArray[np.intp]) -> pd.DataFrame:
        words = [(pair.form, replacement) for pair in self._pairs for replacement in _replacements(pair)]
        outcomes = 1 + len(SKIP_REASONS)
        table = np.bincount(label * outcomes + outcome, minlength=len(words) * outcomes)
        return counts_frame(words, table.reshape(len(words), outcomes))


def _replacements(pair: Pair) -> tuple[str, str]:
    return pair.replacement, pair.independent or pair.replacement


def _independence_by_next_token(vocabulary: Vocabulary) -> NDArray[np.uint8]:
    """(V,) what the token behind a possessive tells by itself: 1 independent, 0 not, `_UNSETTLED` more is needed."""
    verdicts = [
        stands_independently("" if special else complete_text(token), ended=bool(special))
        for token, special in zip(vocabulary.tokens, vocabulary.ends_document, strict=True)
    ]
    return np.array([_UNSETTLED if verdict is None else verdict for verdict in verdicts], np.uint8)
