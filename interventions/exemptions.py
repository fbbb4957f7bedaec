"""Words that are left as they are: those that name both genders, parts of titles, acronyms, code, symbols, and other
languages.

The rules are rules on text (`interventions.rules`). A sieve over tokens finds the few words whose neighbourhood may
match one; only there is text read.

Legend: V tokens in the vocabulary, K words, H of them noticed.
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerBase

from foundation import hash_of_source
from interventions import flags, sieve
from interventions.ledger import skipped
from interventions.matching import Matches, Spelling
from interventions.notice import notice
from interventions.row_edge import RowEdge
from interventions.rules import acronyms, code, coordination, fragments, languages, pronoun_sets, symbols, titles
from interventions.rules.beside import Beside
from interventions.side import Side, both_sides
from interventions.surroundings import read_beside
from interventions.vocabulary import Vocabulary

ENGLISH_REACH = 24

_ROW_EDGE = skipped("row_edge")
_COORDINATION, _LANGUAGE = skipped("coordination"), skipped("language")

Rule = Callable[[str, Beside], bool | None]
RULES: tuple[tuple[np.uint32, Rule, str], ...] = (  # the first that holds decides
    (flags.COORDINATION, coordination.names_both_genders, "coordination"),
    (flags.TITLE, titles.opens_title, "fixed_expression"),
    (flags.CODE | flags.TOUCHES, fragments.is_fragment, "compound"),
    (flags.CODE | flags.TOUCHES, code.is_code, "code"),
    (flags.SYMBOL | flags.LISTED, symbols.is_symbol, "symbol"),
    (flags.CAPITALS, acronyms.is_acronym, "acronym"),
    (flags.LANGUAGE, languages.is_foreign, "language"),
)
_OUTCOMES = [(int(bits), rule, skipped(reason)) for bits, rule, reason in RULES]


def outcome_of(form: str, beside: Beside, *, noticed: int) -> np.uint8:
    """Index in `OUTCOMES` of why a word is left: by the first rule that holds; the row's edge, if it hides whether one
    does; 0, if none does.

    Args:
        noticed: bits of the rules that may hold.
    """
    hidden = False
    for bits, rule, outcome in _OUTCOMES:
        if noticed & bits:
            verdict = rule(form, beside)
            if verdict:
                return outcome
            hidden |= verdict is None
    return _ROW_EDGE if hidden else np.uint8(0)


class Exemptions:
    """The rules over one vocabulary.

    Args:
        spellings: what is looked for.
        forms: the words that they spell, in their case.
        english_only: also exempt words around which signs of other languages or of code outnumber frequent words of
            English, within `ENGLISH_REACH` tokens of the document.

    """

    def __init__(
        self,
        spellings: Sequence[Spelling],
        forms: Sequence[str],
        *,
        tokenizer: PreTrainedTokenizerBase,
        vocabulary: Vocabulary,
        english_only: bool,
    ) -> None:
        self._forms = forms
        self._leads = [spelling.lead for spelling in spellings]
        self._vocabulary = vocabulary
        self._alert = sieve.alerts(forms, self._leads)
        self._opposite = sieve.opposite_bits(forms)
        self._behind = sieve.tokens_behind(tokenizer, vocabulary)
        self._before = sieve.tokens_before(tokenizer, vocabulary)
        self._row_edge = RowEdge(vocabulary)
        self._weights = sieve.weights_of_english(vocabulary) if english_only else None

    @property
    def tables(self) -> dict[str, object]:
        """What decides, for the identity of an intervention."""
        return {"rules": hash_of_source(__name__, "interventions"), "english_only": self._weights is not None}

    def sides(self, rows: NDArray[np.integer], matches: Matches) -> tuple[Side, Side]:
        """What stands before and behind each word."""
        return both_sides(rows, matches, before=self._before, behind=self._behind)

    def notice(self, matches: Matches, before: Side, behind: Side) -> NDArray[np.uint32]:
        """(K,) bits of the rules that the tokens beside each word do not rule out."""
        possible, others = self._alert[matches.spelling], self._opposite[matches.spelling]
        return notice(before, behind, possible, others) | self._row_edge.notice(before, behind, possible)

    def find(
        self,
        rows: NDArray[np.integer],
        matches: Matches,
        noticed: NDArray[np.uint32],
        exempt: NDArray[np.uint8],
        choice: NDArray[np.uint8],
    ) -> None:
        """Fill `exempt` (K,), where it is 0, with the index in `OUTCOMES` of why a word is left.

        Args:
            noticed: (K,) what `notice` has not ruled out.
            choice: (K,) set to 1 where a set of pronouns shows a form to be in its other reading.
        """
        exempt[(noticed & flags.NAMES_BOTH != 0) & (exempt == 0)] = _COORDINATION
        asked = np.flatnonzero((noticed & ~flags.HIDDEN != 0) & (exempt == 0))
        chosen = matches[asked]
        every = zip(asked.tolist(), chosen.spelling.tolist(), noticed[asked].tolist(), strict=True)
        for (match, spelling, bits), beside in zip(every, read_beside(rows, chosen, self._vocabulary), strict=True):
            form, beside = self._forms[spelling], beside._replace(before=beside.before + self._leads[spelling])
            exempt[match] = outcome_of(form, beside, noticed=bits)
            if bits & flags.PRONOUN_SET and pronoun_sets.other_reading(form, beside):
                choice[match] = 1
        exempt[(noticed & flags.HIDDEN != 0) & (exempt == 0)] = _ROW_EDGE
        if self._weights is not None:
            weights = weigh(rows, matches, self._weights, self._vocabulary)
            exempt[(weights < 0) & (exempt == 0)] = _LANGUAGE


def weigh(
    rows: NDArray[np.integer], matches: Matches, weights: NDArray[np.int8], vocabulary: Vocabulary
) -> NDArray[np.int64]:
    """(K,) signs of English around each word, less those against it."""
    tokens, width = rows.reshape(-1), rows.shape[1]
    column = matches.position % width
    weighed = np.zeros(len(matches), np.int64)
    for step, number in ((-1, column), (1, width - 1 - column)):
        near = np.ones(len(matches), np.bool_)
        for distance in range(1, ENGLISH_REACH + 1):
            token = tokens.take(matches.position + step * distance, mode="clip")
            near &= (distance <= number) & ~vocabulary.ends_document[token]
            weighed += weights[token] * near
    return weighed
