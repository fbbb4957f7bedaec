"""Singular they: pronouns made neutral, and the verbs beside he and she brought into agreement, as far as a closed list
of them goes.

Verbs outside the list ("she says") are left as they are, so this arm is less clean than those that keep the number.
Legend: S rows, W tokens in a row.
"""

import re
from collections.abc import Sequence
from dataclasses import replace as with_changes
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerBase

from interventions.intervention import identity_of
from interventions.ledger import SKIP_REASONS, SWAPPED, Ledger
from interventions.lexicon import AGREEMENT, SUBJECTS, in_every_case
from interventions.matching import Matcher
from interventions.rewrite import Rewrite
from interventions.vocabulary import Joint, canonical_tokens

Ids = TypeVar("Ids", bound=np.integer)

_LENGTH = np.uint8(1 + SKIP_REASONS.index("length"))
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
        self._plurals = [
            canonical_tokens(" " * spelling.led + self._pairs[spelling.form].replacement, tokenizer, vocabulary)
            for spelling in self._matcher.spellings
        ]
        self._words = [(pair.form, pair.replacement) for pair in self._pairs]
        self._contractions = []
        for mark in APOSTROPHES:
            plurals = [canonical_tokens(mark + ending, tokenizer, vocabulary) for ending in ("re", "ve")]
            self._contractions.append((canonical_tokens(mark + "s", tokenizer, vocabulary), plurals, len(self._words)))
            self._words += [(mark + "s", mark + "re"), (mark + "s", mark + "ve")]
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
        found = self._verbs(rows, starts, stops) + self._contracted(rows, stops)
        tokens, mask = swapped_rows.reshape(-1), ledger.swapped.reshape(-1)
        for position, length, plural, _ in found:
            if len(plural) == length:
                tokens[position : position + length] = plural
                mask[position : position + length] = True
        return swapped_rows, _with_verbs(ledger, found, self._words)

    def _verbs(
        self, rows: NDArray[np.integer], starts: NDArray[np.int64], stops: NDArray[np.int64]
    ) -> list[tuple[int, int, tuple[int, ...], int]]:
        """Position, length, plural and label of each verb beside a swapped subject."""
        width = rows.shape[1]
        matches = self._matcher.find(rows)
        forms = self._matcher.forms[matches.spelling]
        ends = matches.position + matches.length
        capitalised = np.array([pair.form[:1].isupper() for pair in self._pairs])[forms]
        behind = np.isin(matches.position, stops) & (matches.position % width > 0)
        before = capitalised & np.isin(ends, starts) & (ends % width > 0)
        chosen = np.flatnonzero((behind | before) & (matches.joint == Joint.FREE))
        return [
            (
                int(matches.position[match]),
                int(matches.length[match]),
                self._plurals[matches.spelling[match]],
                int(forms[match]),
            )
            for match in chosen
        ]

    def _contracted(
        self, rows: NDArray[np.integer], stops: NDArray[np.int64]
    ) -> list[tuple[int, int, tuple[int, ...], int]]:
        """The same of each 's."""
        width, tokens = rows.shape[1], rows.reshape(-1)
        found = []
        for ids, plurals, label in self._contractions:
            inside = stops[stops % width + len(ids) < width]
            inside = inside[inside % width > 0]
            for offset, token in enumerate(ids):
                inside = inside[tokens[inside + offset] == token]
            for position in inside.tolist():
                row, column = divmod(position + len(ids), width)
                after, ended = self._vocabulary.text_after(rows[row], column, enough=_LOOK_BYTES)
                if after[:1].isalnum() or not (after or ended):
                    continue
                reading = int(means_has(after))
                found.append((position, len(ids), plurals[reading], label + reading))
        return found


def _with_verbs(
    ledger: Ledger, found: list[tuple[int, int, tuple[int, ...], int]], words: Sequence[tuple[str, str]]
) -> Ledger:
    """The ledger of the pronouns and of the verbs, in the order of the text."""
    position = np.concatenate([ledger.position, np.array([verb[0] for verb in found], np.int64)])
    length = np.concatenate([ledger.length, np.array([verb[1] for verb in found], np.int32)])
    verbs = np.array([verb[3] for verb in found], np.int32) + len(ledger.words)
    outcome = np.array([SWAPPED if len(verb[2]) == verb[1] else _LENGTH for verb in found], np.uint8)
    order = np.argsort(position, kind="stable")
    return with_changes(
        ledger,
        words=[*ledger.words, *words],
        label=np.concatenate([ledger.label, verbs])[order],
        position=position[order],
        length=length[order],
        outcome=np.concatenate([ledger.outcome, outcome])[order],
    )
