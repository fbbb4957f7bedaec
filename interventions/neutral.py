"""Singular they: pronouns made neutral, and the verbs beside he and she brought into agreement, as far as a closed list
of them goes.

Verbs outside the list ("she says") are left as they are, so this arm is less clean than those that keep the number.
Legend: S rows, W tokens in a row.
"""

import re
from dataclasses import replace as with_changes
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerBase

from interventions.intervention import identity_of
from interventions.kernels import replace
from interventions.ledger import SWAPPED, Ledger, skipped
from interventions.lexicon import AGREEMENT, SUBJECTS, in_every_case
from interventions.matching import Matcher
from interventions.rewrite import Rewrite
from interventions.vocabulary import Joint, canonical_tokens

Ids = TypeVar("Ids", bound=np.integer)

_LENGTH = skipped("length")
_LOOK_BYTES = 48
APOSTROPHES = ("'", "’")
AFTER_HAS = ("been", "got", "had", "gone", "become", "done", "made", "taken", "seen", "given", "come", "grown", "lost")
ADVERBS = ("not", "never", "always", "already", "just", "also", "only", "ever", "recently", "since", "long")
_MEANS_HAS = re.compile(rf" (?:(?:{'|'.join(ADVERBS)}) )*(?:{'|'.join(AFTER_HAS)})(?!\w)")


def means_has(after: str) -> bool:
    """Whether the 's of "he's" stands for has, not is, by the text after it: "he's never been", not "he's tired"."""
    return _MEANS_HAS.match(after) is not None


class Neutral:
    """Pronouns by `pronouns`; then is -> are, was -> were, has -> have, does -> do, and these with n't, directly behind
    a swapped he or she, or directly before it where the verb is capitalised ("Is he"); 's -> 're or 've behind it.

    A verb whose plural has another number of tokens is left and counted.
    """

    def __init__(self, name: str, pronouns: Rewrite, *, tokenizer: PreTrainedTokenizerBase) -> None:
        self.name = name
        self.facts = pronouns.facts
        self._pronouns = pronouns
        self._vocabulary = vocabulary = pronouns.vocabulary
        self._pairs = in_every_case(AGREEMENT)
        self._matcher = Matcher([pair.form for pair in self._pairs], tokenizer=tokenizer, vocabulary=vocabulary)
        plurals = [
            canonical_tokens(spelling.lead + self._pairs[spelling.form].replacement, tokenizer, vocabulary)
            for spelling in self._matcher.spellings
        ]
        self._words = [(pair.form, pair.replacement) for pair in self._pairs]
        self._contractions = []
        for mark in APOSTROPHES:
            first_label, first_plural = len(self._words), len(plurals)
            self._contractions.append((canonical_tokens(mark + "s", tokenizer, vocabulary), first_label, first_plural))
            self._words += [(mark + "s", mark + ending) for ending in ("re", "ve")]
            plurals += [canonical_tokens(mark + ending, tokenizer, vocabulary) for ending in ("re", "ve")]
        self._plural_lengths = np.array([len(plural) for plural in plurals], np.int32)
        self._plurals = np.zeros((len(plurals), self._plural_lengths.max()), np.int64)
        for index, plural in enumerate(plurals):
            self._plurals[index, : len(plural)] = plural
        self._capitalised = np.array([pair.form[:1].isupper() for pair in self._pairs])
        self._ends_capitalised = np.zeros(vocabulary.size, np.bool_)
        ends = [s.tokens[-1] for s in self._matcher.spellings if self._capitalised[s.form]]
        self._ends_capitalised[ends] = True
        self.identity = identity_of(
            name,
            vocabulary=vocabulary.fingerprint,
            tables={"pronouns": pronouns.identity, "verbs": self._words, "has": [ADVERBS, AFTER_HAS]},
        )

    def __call__(self, rows: NDArray[Ids], *, first_row: int) -> tuple[NDArray[Ids], Ledger]:
        swapped_rows, ledger = self._pronouns(rows, first_row=first_row)
        is_subject = np.array([form.lower() in SUBJECTS for form, _ in ledger.words])
        subjects = np.flatnonzero(is_subject[ledger.label] & (ledger.outcome == SWAPPED))
        starts, stops = ledger.position[subjects], ledger.position[subjects] + ledger.length[subjects]
        found = np.concatenate([self._verbs(rows, starts, stops), *self._contracted(rows, stops)])
        position, length, plural, label = found.T
        outcome = np.where(self._plural_lengths[plural] == length, np.uint8(SWAPPED), _LENGTH)
        replace(swapped_rows.reshape(-1), position, length, plural, outcome, self._plurals)
        everything = with_changes(
            ledger,
            words=[*ledger.words, *self._words],
            label=np.concatenate([ledger.label, label + len(ledger.words)]),
            position=np.concatenate([ledger.position, position]),
            length=np.concatenate([ledger.length, length.astype(np.int32)]),
            outcome=np.concatenate([ledger.outcome, outcome]),
        )
        return swapped_rows, everything.in_order_of_the_text()

    def _verbs(
        self, rows: NDArray[np.integer], starts: NDArray[np.int64], stops: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        """(N, 4) position, length, plural and label of each verb beside a swapped subject."""
        width = rows.shape[1]
        behind = self._matcher.find(rows, at=stops[stops % width > 0])
        led = starts[starts % width > 0]
        led = led[self._ends_capitalised[rows.reshape(-1)[led - 1]]]
        places = np.unique([led - length for length in range(1, int(self._matcher.lengths.max()) + 1)])
        before = self._matcher.find(rows, at=places[places >= 0])
        ends = before.position + before.length
        capitalised = self._capitalised[self._matcher.forms[before.spelling]]
        before = before[capitalised & np.isin(ends, led) & ~np.isin(before.position, behind.position)]
        verbs = []
        for matches in (behind, before):
            matches = matches[matches.joint == Joint.FREE]
            forms = self._matcher.forms[matches.spelling]
            columns = (matches.position, matches.length, matches.spelling, forms)
            verbs.append(np.stack([column.astype(np.int64) for column in columns], axis=1))
        return np.concatenate(verbs)

    def _contracted(self, rows: NDArray[np.integer], stops: NDArray[np.int64]) -> list[NDArray[np.int64]]:
        """The same of each kind of 's."""
        width, tokens = rows.shape[1], rows.reshape(-1)
        found = []
        for ids, first_label, first_plural in self._contractions:
            inside = stops[stops % width + len(ids) < width]
            inside = inside[inside % width > 0]
            for offset, token in enumerate(ids):
                inside = inside[tokens[inside + offset] == token]
            verbs = []
            for position in inside.tolist():
                row, column = divmod(position + len(ids), width)
                after, ended = self._vocabulary.text_after(rows[row], column, enough=_LOOK_BYTES)
                if (after or ended) and not after[:1].isalnum():
                    reading = int(means_has(after))
                    verbs.append((position, len(ids), first_plural + reading, first_label + reading))
            found.append(np.array(verbs, np.int64).reshape(-1, 4))
        return found
