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
from interventions import kernels, sieve
from interventions.ledger import skipped
from interventions.matching import Matches, Spelling
from interventions.rules import acronyms, code, coordination, fragments, languages, pronoun_sets, symbols, titles
from interventions.rules.beside import Beside
from interventions.surroundings import read_beside
from interventions.vocabulary import Vocabulary

ENGLISH_REACH = 24

_ROW_EDGE = skipped("row_edge")
_COORDINATION, _LANGUAGE = skipped("coordination"), skipped("language")

Rule = Callable[[str, Beside], bool | None]
RULES: tuple[tuple[int, Rule, str], ...] = (  # the first that holds decides
    (kernels.COORDINATION, coordination.names_both_genders, "coordination"),
    (kernels.TITLE, titles.opens_title, "fixed_expression"),
    (kernels.CODE | kernels.TOUCHES, fragments.is_fragment, "compound"),
    (kernels.CODE | kernels.TOUCHES, code.is_code, "code"),
    (kernels.SYMBOL | kernels.LISTED, symbols.is_symbol, "symbol"),
    (kernels.CAPITALS, acronyms.is_acronym, "acronym"),
    (kernels.LANGUAGE, languages.is_foreign, "language"),
)
_OUTCOMES = [(bits, rule, skipped(reason)) for bits, rule, reason in RULES]


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

    Attributes:
        alert, opposite, behind, before: tables of `kernels.notice`.
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
        self.alert = sieve.alerts(forms, self._leads)
        self.opposite = sieve.opposite_bits(forms)
        self.behind = sieve.tokens_behind(tokenizer, vocabulary)
        self.before = sieve.tokens_before(tokenizer, vocabulary)
        self._weights = sieve.weights_of_english(vocabulary) if english_only else None

    @property
    def tables(self) -> dict[str, object]:
        """What decides, for the identity of an intervention."""
        return {"rules": hash_of_source(__name__, "interventions"), "english_only": self._weights is not None}

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
            noticed: (K,) what `kernels.notice` found not ruled out.
            choice: (K,) set to 1 where a set of pronouns shows a form to be in its other reading.
        """
        exempt[(noticed & kernels.NAMES_BOTH != 0) & (exempt == 0)] = _COORDINATION
        asked = np.flatnonzero((noticed & ~np.uint32(kernels.HIDDEN) != 0) & (exempt == 0))
        chosen = matches[asked]
        every = zip(asked.tolist(), chosen.spelling.tolist(), noticed[asked].tolist(), strict=True)
        for (match, spelling, bits), beside in zip(every, read_beside(rows, chosen, self._vocabulary), strict=True):
            form, beside = self._forms[spelling], beside._replace(before=beside.before + self._leads[spelling])
            exempt[match] = outcome_of(form, beside, noticed=bits)
            if bits & kernels.PRONOUN_SET and pronoun_sets.other_reading(form, beside):
                choice[match] = 1
        exempt[(noticed & kernels.HIDDEN != 0) & (exempt == 0)] = _ROW_EDGE
        if self._weights is not None:
            weights = weigh(rows, matches, self._weights, self._vocabulary)
            exempt[(weights < 0) & (exempt == 0)] = _LANGUAGE


def weigh(
    rows: NDArray[np.integer], matches: Matches, weights: NDArray[np.int8], vocabulary: Vocabulary
) -> NDArray[np.int64]:
    """(K,) signs of English around each word, less those against it."""
    weighed: NDArray[np.int64] = kernels.weigh_near(
        rows.reshape(-1), rows.shape[1], matches.position, ENGLISH_REACH, weights, vocabulary.ends_document
    )
    return weighed
