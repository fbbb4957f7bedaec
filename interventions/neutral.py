"""Singular they: pronouns made neutral, and the verbs beside he and she brought into agreement, as far as a closed list
of them goes.

Verbs outside the list ("she says") are left as they are, so this arm is less clean than those that keep the number.
Legend: S rows, W tokens in a row, N verbs.
"""

import re
from collections.abc import Sequence
from dataclasses import replace as with_changes
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerBase

from foundation import hash_of_source
from interventions.contractions import ADVERBS, means_has
from interventions.intervention import identity_of
from interventions.ledger import SWAPPED, Ledger, skipped
from interventions.lexicon import AGREEMENT, SUBJECTS, in_every_case
from interventions.matching import Matcher, Matches
from interventions.positions import write
from interventions.rewrite import Rewrite
from interventions.vocabulary import Joint, canonical_tokens

Ids = TypeVar("Ids", bound=np.integer)

_LENGTH = skipped("length")
_LOOK_BYTES = 48
MOST_ADVERBS = 2
APOSTROPHES = ("'", "’", "ʼ")
_CLEFT = re.compile(r"(?<!\w)(?:it|this|that|['’]t)$", re.IGNORECASE)  # "it is she who"
_ASKS = re.compile(r"(?<!\w)(?:who|what|where|when|why|how)$", re.IGNORECASE)  # "what's he doing"


class Neutral:
    """Pronouns by `pronouns`; then is -> are, was -> were, has -> have, does -> do, and these with n't, behind a
    swapped he or she ("she is", "he never was") or before it ("who is she", "nor was he", "isn't he"), but not in "it
    is she who"; 's -> 're or 've behind it ("he's"), and before it behind a question word ("where's she been").

    A verb whose plural has another number of tokens is left and counted.
    """

    def __init__(self, name: str, pronouns: Rewrite, *, tokenizer: PreTrainedTokenizerBase) -> None:
        self.name = name
        self.facts = pronouns.facts
        self._pronouns = pronouns
        self._vocabulary = vocabulary = pronouns.vocabulary

        def ids(text: str) -> tuple[int, ...]:
            return canonical_tokens(text, tokenizer, vocabulary)

        self._pairs = in_every_case(AGREEMENT)
        self._matcher = Matcher([pair.form for pair in self._pairs], tokenizer=tokenizer, vocabulary=vocabulary)
        self._adverbs = Matcher(ADVERBS, tokenizer=tokenizer, vocabulary=vocabulary)
        plurals = [ids(spelling.lead + self._pairs[spelling.form].replacement) for spelling in self._matcher.spellings]
        self._words = [(pair.form, pair.replacement) for pair in self._pairs]
        self._contractions = []
        for mark, case in [(mark, case) for case in (str.lower, str.upper) for mark in APOSTROPHES]:
            endings = [mark + case(ending) for ending in ("s", "re", "ve")]
            self._contractions.append((ids(endings[0]), len(self._words), len(plurals)))
            self._words += [(endings[0], ending) for ending in endings[1:]]
            plurals += [ids(ending) for ending in endings[1:]]
        self._negations = [ids(mark + case("t")) for case in (str.lower, str.upper) for mark in APOSTROPHES]
        self._plural_lengths = np.array([len(plural) for plural in plurals], np.int32)
        self._plurals = np.zeros((len(plurals), self._plural_lengths.max()), np.int64)
        for index, plural in enumerate(plurals):
            self._plurals[index, : len(plural)] = plural
        self._ends_verb, self._is_blank = np.zeros((2, vocabulary.size), np.bool_)
        self._ends_verb[[spelling.tokens[-1] for spelling in self._matcher.spellings]] = True
        self._is_blank[:] = [token.isspace() for token in vocabulary.tokens]
        self.identity = identity_of(
            name,
            vocabulary=vocabulary.fingerprint,
            tables={
                "pronouns": pronouns.identity,
                "verbs": self._words,
                "rules": hash_of_source(__name__, "interventions"),
            },
        )

    def __call__(self, rows: NDArray[Ids], *, first_row: int) -> tuple[NDArray[Ids], Ledger]:
        swapped_rows, ledger = self._pronouns(rows, first_row=first_row)
        is_subject = np.array([form.lower() in SUBJECTS for form, _ in ledger.words])
        subjects = np.flatnonzero(is_subject[ledger.label] & (ledger.outcome == SWAPPED))
        starts, stops = ledger.position[subjects], ledger.position[subjects] + ledger.length[subjects]
        found = np.concatenate([*self._verbs(rows, starts, stops), *self._contracted(rows, starts, stops)])
        found = found[np.unique(found[:, 0], return_index=True)[1]]
        position, length, plural, label = found.T
        outcome = np.where(self._plural_lengths[plural] == length, np.uint8(SWAPPED), _LENGTH)
        swapped = outcome == SWAPPED
        write(swapped_rows.reshape(-1), position[swapped], length[swapped], self._plurals[plural[swapped]])
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
    ) -> list[NDArray[np.int64]]:
        """(N, 4) position, length, plural and label of the verbs behind a swapped subject, and of those before one."""
        width = rows.shape[1]
        places = stops[stops % width > 0]
        behind = [self._matcher.find(rows, at=places)]
        for _ in range(MOST_ADVERBS):
            adverbs = self._adverbs.find(rows, at=places)
            adverbs = adverbs[adverbs.joint == Joint.FREE]
            places = adverbs.position + adverbs.length
            places = places[places % width > 0]
            behind.append(self._matcher.find(rows, at=places))
        return [*(self._columns(matches) for matches in behind), self._columns(self._before(rows, starts))]

    def _before(self, rows: NDArray[np.integer], starts: NDArray[np.int64]) -> Matches:
        """The verbs that stand before a subject; between the two may be a blank and n't."""
        tokens, width = rows.reshape(-1), rows.shape[1]
        ends = starts[starts % width > 0]
        ends = np.concatenate([ends, ends[self._is_blank[tokens[ends - 1]]] - 1])
        negated = [_standing_before(tokens, ends, ids, width) for ids in self._negations]
        ends = np.concatenate([ends, *negated])
        ends = ends[ends % width > 0]
        ends = np.unique(ends[self._ends_verb[tokens[ends - 1]]])
        places = np.unique([ends - length for length in range(1, int(self._matcher.lengths.max()) + 1)])
        verbs = self._matcher.find(rows, at=places[places >= 0])
        verbs = verbs[np.isin(verbs.position + verbs.length, ends)]
        return verbs[~self._text_before_matches(rows, verbs.position, _CLEFT)]

    def _columns(self, matches: Matches) -> NDArray[np.int64]:
        matches = matches[matches.joint == Joint.FREE]
        columns = (matches.position, matches.length, matches.spelling, self._matcher.forms[matches.spelling])
        return np.stack([column.astype(np.int64) for column in columns], axis=1)

    def _contracted(
        self, rows: NDArray[np.integer], starts: NDArray[np.int64], stops: NDArray[np.int64]
    ) -> list[NDArray[np.int64]]:
        """The same of each kind of 's, behind a subject and before one."""
        width, tokens = rows.shape[1], rows.reshape(-1)
        found = []
        for ids, first_label, first_plural in self._contractions:
            inside = stops[(stops % width > 0) & (stops % width + len(ids) < width)]
            for offset, token in enumerate(ids):
                inside = inside[tokens[inside + offset] == token]
            before = _standing_before(tokens, starts[starts % width > 0], ids, width)
            before = before[self._text_before_matches(rows, before, _ASKS)]
            places = np.concatenate([inside, before])
            read_from = np.concatenate([inside + len(ids), stops[np.searchsorted(starts, before + len(ids))]])
            verbs = []
            for place, stop in zip(places.tolist(), read_from.tolist(), strict=True):
                row, column = divmod(stop, width)
                after, ended = ("", False) if column == 0 else self._text_after(rows[row], column)
                if (after or ended) and not after[:1].isalnum():
                    reading = int(means_has(after))
                    verbs.append((place, len(ids), first_plural + reading, first_label + reading))
            found.append(np.array(verbs, np.int64).reshape(-1, 4))
        return found

    def _text_after(self, row: NDArray[np.integer], column: int) -> tuple[str, bool]:
        return self._vocabulary.text_after(row, column, enough=_LOOK_BYTES)

    def _text_before_matches(
        self, rows: NDArray[np.integer], position: NDArray[np.int64], pattern: re.Pattern[str]
    ) -> NDArray[np.bool_]:
        """(N,) whether a pattern closes the text before each position, without blanks."""
        matched = np.zeros(len(position), np.bool_)
        for index, place in enumerate(position.tolist()):
            row, column = divmod(place, rows.shape[1])
            text, _ = self._vocabulary.text_before(rows[row], column, enough=12)
            matched[index] = pattern.search(text.rstrip()) is not None
        return matched


def _standing_before(
    tokens: NDArray[np.integer], places: NDArray[np.int64], ids: Sequence[int], width: int
) -> NDArray[np.int64]:
    """Where `ids` begin that end at one of `places`, in the same row and not at its beginning."""
    begins = places[places % width > len(ids)] - len(ids)
    for offset, token in enumerate(ids):
        begins = begins[tokens[begins + offset] == token]
    return begins
