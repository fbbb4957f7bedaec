"""Words exchanged for others in token space, with an account of every one of them.

Legend: S rows, W tokens in a row, K matches. A *target* is a choice of replacement for a spelling: number
2 * spelling + 1 in the other reading of the form (his -> hers, her -> him), else 2 * spelling.
"""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerBase

from foundation import hash_of_source
from interventions.dose import Dose
from interventions.exemptions import Exemptions
from interventions.her import HerReader
from interventions.independence import UNSETTLED, Independence
from interventions.intervention import identity_of
from interventions.ledger import SWAPPED, Ledger, skipped
from interventions.lexicon import Pair
from interventions.matching import Matcher, Matches
from interventions.positions import write
from interventions.selection import Selection
from interventions.vocabulary import Joint, Vocabulary, canonical_tokens

Ids = TypeVar("Ids", bound=np.integer)

_ROW_EDGE, _LENGTH, _NOT_DRAWN = skipped("row_edge"), skipped("length"), skipped("not_drawn")
_OUTCOME_OF_JOINT = np.zeros(len(Joint), np.uint8)
_OUTCOME_OF_JOINT[Joint.COMPOUND], _OUTCOME_OF_JOINT[Joint.CUT] = skipped("compound"), _ROW_EDGE


class Rewrite:
    """Replaces every whole-word occurrence of the forms of `pairs` that is not exempt, where its length allows.

    What is skipped before its replacement is chosen counts under `Pair.replacement`.

    Args:
        pairs: in every case in which they are to be found.
        dose: which of the words are changed.
        reads_her: needed where a pair's reading is "object".
        selection: chooses further, among what the dose has drawn.
        english_only: leave words that stand in other languages or in code.
        learned: whether the words are learned; if not, they are marked as unlearned labels.

    Raises:
        UserError: the tokenizer is no byte-level BPE that keeps text as it is; on a call, rows of another vocabulary.
    """

    def __init__(
        self,
        name: str,
        pairs: Sequence[Pair],
        *,
        tokenizer: PreTrainedTokenizerBase,
        vocabulary: Vocabulary,
        dose: Dose,
        reads_her: HerReader | None = None,
        selection: Selection | None = None,
        english_only: bool = False,
        learned: bool = True,
    ) -> None:
        self.name = name
        self.facts: dict[str, Any] = {"her": reads_her.facts} if reads_her else {}
        self.vocabulary = vocabulary
        self._pairs = tuple(pairs)
        self._dose = dose
        self._reads_her = reads_her
        self._selection = selection
        self._learned = learned
        self._matcher = Matcher([pair.form for pair in pairs], tokenizer=tokenizer, vocabulary=vocabulary)
        spellings = self._matcher.spellings
        targets = [
            canonical_tokens(spelling.lead + word, tokenizer, vocabulary)
            for spelling in spellings
            for word in _replacements(self._pairs[spelling.form])
        ]
        self._target_lengths = np.array([len(target) for target in targets], np.int32)
        self._target_tokens = np.zeros((len(targets), self._target_lengths.max(initial=1)), np.int64)
        for index, target in enumerate(targets):
            self._target_tokens[index, : len(target)] = target
        self._fits = self._target_lengths == np.repeat(self._matcher.lengths, 2)
        readings = np.array([pair.reading or "" for pair in self._pairs])[self._matcher.forms]
        self._may_be_independent, self._may_be_object = readings == "independent", readings == "object"
        self._independence = Independence(vocabulary)
        forms = [self._pairs[spelling.form].form for spelling in spellings]
        self._exemptions = Exemptions(
            spellings, forms, tokenizer=tokenizer, vocabulary=vocabulary, english_only=english_only
        )
        self._words = [(pair.form, replacement) for pair in self._pairs for replacement in _replacements(pair)]
        self.identity = identity_of(
            name,
            vocabulary=vocabulary.fingerprint,
            tables={
                "pairs": [asdict(pair) for pair in self._pairs],
                "spellings": [asdict(spelling) for spelling in spellings],
                "targets": targets,
                "independence": hash_of_source("interventions.independence", "interventions"),
                "exemptions": self._exemptions.tables,
                "her": reads_her.identity if reads_her else None,
                "dose": dose.identity,
                "selection": selection.identity if selection else None,
                "learned": learned,
            },
        )

    def __call__(self, rows: NDArray[Ids], *, first_row: int) -> tuple[NDArray[Ids], Ledger]:
        self.vocabulary.check(rows)
        rows = np.ascontiguousarray(rows)
        matches = self._matcher.find(rows)
        exempt, choice = self._exempt_and_choose(rows, matches)
        in_other_reading = choice == 1
        target = 2 * matches.spelling + in_other_reading
        label = 2 * self._matcher.forms[matches.spelling] + in_other_reading
        unfit = np.where(choice == UNSETTLED, _ROW_EDGE, np.where(self._fits[target], np.uint8(SWAPPED), _LENGTH))
        outcome = np.where(exempt, exempt, unfit)
        self._draw(rows, matches, outcome, first_row=first_row)

        swapped_rows = rows.copy()
        swapped = outcome == SWAPPED
        replacements = self._target_tokens[target[swapped]]
        write(swapped_rows.reshape(-1), matches.position[swapped], matches.length[swapped], replacements)
        return swapped_rows, Ledger(
            rows.shape, self._words, label, matches.position, matches.length, outcome, self._learned
        )

    def coverage(self) -> float:
        """Share of the forms, led by a space, whose replacement has as many tokens."""
        led = np.array([spelling.lead == " " for spelling in self._matcher.spellings])
        return float(self._fits.reshape(-1, 2)[led].all(axis=1).mean())

    def _exempt_and_choose(
        self, rows: NDArray[np.integer], matches: Matches
    ) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """(K,) index in `OUTCOMES` of why a word is left, else 0; and (K,) 1 where a form is in its other reading,
        `UNSETTLED` where the row ends too early to tell, else 0.
        """
        before, behind = self._exemptions.sides(rows, matches)
        noticed = self._exemptions.notice(matches, before, behind)
        choice = np.zeros(len(matches), np.uint8)
        asked = np.flatnonzero(self._may_be_independent[matches.spelling] & (behind.number > 0))
        choice[asked] = self._independence.by_tokens(before.of(asked), behind.of(asked))
        exempt = _OUTCOME_OF_JOINT[matches.joint]
        self._exemptions.find(rows, matches, noticed, exempt, choice)
        choice[exempt != 0] = 0
        self._independence.settle(rows, matches, choice)
        if self._reads_her is not None:
            asked = np.flatnonzero((exempt == 0) & (choice == 0) & self._may_be_object[matches.spelling])
            choice[asked] = self._reads_her(rows, matches[asked])
        return exempt, choice

    def _draw(self, rows: NDArray[np.integer], matches: Matches, outcome: NDArray[np.uint8], *, first_row: int) -> None:
        """Mark in `outcome` what could be swapped and is not drawn."""
        if not self._dose.is_whole:
            drawn = self._dose.drawn(rows, matches.position, first_row=first_row, vocabulary=self.vocabulary)
            outcome[(outcome == SWAPPED) & ~drawn] = _NOT_DRAWN
        if self._selection is not None:
            left = np.flatnonzero(outcome == SWAPPED)
            form = self._matcher.forms[matches.spelling[left]]
            chosen = self._selection(rows, matches.position[left], form, first_row=first_row)
            outcome[left[~chosen]] = _NOT_DRAWN


def _replacements(pair: Pair) -> tuple[str, str]:
    return pair.replacement, pair.otherwise or pair.replacement
