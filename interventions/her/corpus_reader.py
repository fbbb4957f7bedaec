"""her -> him or his, learned from the corpus itself, without labels.

Other pronouns show which of the two a place takes: "his", "my", "our", "their" stand where a possessive her may stand,
"him", "me", "us", "them" where an object may. Each of them in a sample of the corpus is an example: hide it, and look
at the three words behind it and the one before it. The model is logistic regression on hashed features of those words
and of their classes. Her has another base rate than the examples; its own is estimated from the unlabelled her of the
sample by expectation maximisation (Saerens, Latinne and Decaestecker 2002, Neural Computation 14, section 2.2).

Legend: S rows, W tokens in a row, K places.
"""

import hashlib
import io
import json
import logging
import math
import zipfile
import zlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import scipy
from numpy.typing import NDArray
from scipy.stats import binomtest
from transformers import PreTrainedTokenizerBase

from foundation import UserError, cache_directory, hash_of_source, remember
from interventions.dose import Stream, draw
from interventions.her.classes import OBJECT_LOG_ODDS
from interventions.her.context import TokenParts, company_of_words, object_relations, token_parts
from interventions.her.features import RELATION, WEIGHT_BITS, features, hashed, learn, score
from interventions.her.words import Words
from interventions.independence import Independence
from interventions.matching import Matcher, Matches
from interventions.vocabulary import Joint, Vocabulary

log = logging.getLogger(__name__)

POSSESSIVES, OBJECTS = ("his", "my", "our", "their"), ("him", "me", "us", "them")
LEAST_EXAMPLES = 100
HELD_OUT_EVERY = 10  # of the sample's rows, one in so many measures accuracy

_EPOCHS = 2
_EM_ROUNDS = 200


class HerReader(Protocol):
    """Tells her = him from her = his.

    Attributes:
        identity: of all that decides.
        facts: how it decides and how often it is right, for run.json.
    """

    @property
    def identity(self) -> str: ...

    @property
    def facts(self) -> dict[str, Any]: ...

    def __call__(self, rows: NDArray[np.integer], matches: Matches) -> NDArray[np.bool_]:
        """(K,) whether each her is an object."""
        ...


@dataclass(frozen=True)
class Accuracy:
    """How often a reader is right about hidden his and him, in rows that it has not learned from.

    Attributes:
        n: hidden words.
        accuracy, ci_low, ci_high: share that is right, and its 95 % interval (Wilson).
        always_his: share that would be right without looking.
        of_his, of_him: share that is right of each, as her is read; None where there is none.
        at_rate_of_her: share that would be right if as many were possessive as are of her; None where one is not known.
        her_possessive: that share of her, as estimated.
        examples, examples_possessive: what was learned from, and the share of it that is possessive.
    """

    n: int
    accuracy: float
    ci_low: float
    ci_high: float
    always_his: float
    of_his: float | None
    of_him: float | None
    at_rate_of_her: float | None
    her_possessive: float
    examples: int
    examples_possessive: float


@dataclass(frozen=True, eq=False)
class CorpusReader:
    """A fitted model.

    Attributes:
        identity: of what was learned.
        weights: of the hashed features; the last one is the constant.
        company: see `context.company_of_words`.
        shift: log-odds to add for the base rate of her.
        accuracy: on held-out rows; None where they hold no his and him.
    """

    identity: str
    parts: TokenParts
    weights: NDArray[np.float32]
    company: NDArray[np.uint8]
    shift: float
    accuracy: Accuracy | None

    def __call__(self, rows: NDArray[np.integer], matches: Matches) -> NDArray[np.bool_]:
        """(K,) whether each her is an object."""
        is_object: NDArray[np.bool_] = self.log_odds(rows, matches) + self.shift < 0
        return is_object

    @property
    def facts(self) -> dict[str, Any]:
        """The method and its accuracy on held-out rows."""
        return {"method": "corpus", **(asdict(self.accuracy) if self.accuracy else {})}

    def log_odds(self, rows: NDArray[np.integer], matches: Matches) -> NDArray[np.float32]:
        """(K,) of possessive to object, at the base rate of the examples."""
        words = Words(rows.reshape(-1), rows.shape[1], self.parts)
        found, _ = features(words, matches.position, matches.position + matches.length, self.company)
        return score(found, self.weights)

    @classmethod
    def fitted(
        cls, sample: NDArray[np.integer], *, tokenizer: PreTrainedTokenizerBase, vocabulary: Vocabulary
    ) -> "CorpusReader":
        """Learn from (S, W) rows of the corpus, or load what was learned from the same before.

        Raises:
            UserError: they hold too few examples.
        """
        vocabulary.check(sample)
        sample = np.ascontiguousarray(sample)
        path = cache_directory() / "her" / f"{_key(sample, vocabulary)}.npz"
        parts = token_parts(vocabulary)
        stored = _read(path)
        if stored is None:
            weights, company, shift, accuracy = _fit(sample, parts, tokenizer=tokenizer, vocabulary=vocabulary)
            facts = json.dumps({"shift": shift, "accuracy": asdict(accuracy) if accuracy else None})
            stored = {"weights": weights, "company": company, "facts": np.array(facts)}
            content = io.BytesIO()
            np.savez(content, weights=weights, company=company, facts=stored["facts"])
            remember(path, content.getvalue())
        facts = json.loads(str(stored["facts"]))
        accuracy = Accuracy(**facts["accuracy"]) if facts["accuracy"] else None
        weights, company, shift = stored["weights"], stored["company"], facts["shift"]
        return cls(_identity(weights, company, shift, vocabulary), parts, weights, company, shift, accuracy)


def _read(path: Path) -> dict[str, NDArray[Any]] | None:
    """The arrays that were stored; None where they never were, or are damaged: they can be learned again."""
    if not path.exists():
        return None
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            return {name: stored[name] for name in ("weights", "company", "facts")}
    except (zipfile.BadZipFile, OSError, EOFError, ValueError, KeyError, NotImplementedError, zlib.error) as error:
        log.warning("%s is damaged (%s); what it held is learned again", path, type(error).__name__)
        return None


def _key(sample: NDArray[np.integer], vocabulary: Vocabulary) -> str:
    """SHA-256 of the sample, the vocabulary, and the code and packages that learn from them."""
    method = [
        hash_of_source("interventions.her.corpus_reader", "interventions"),
        *(np.__version__, scipy.__version__),
    ]
    content = hashlib.sha256(json.dumps([method, vocabulary.fingerprint, sample.shape]).encode())
    content.update(np.ascontiguousarray(sample, "<u4" if vocabulary.size > 1 << 16 else "<u2").tobytes())
    return content.hexdigest()


def _identity(weights: NDArray[np.float32], company: NDArray[np.uint8], shift: float, vocabulary: Vocabulary) -> str:
    """SHA-256 of what was learned, whatever it was learned from."""
    content = hashlib.sha256(json.dumps([vocabulary.fingerprint, shift]).encode())
    for learned in (weights, company):
        content.update(np.ascontiguousarray(learned).tobytes())
    return content.hexdigest()


def _fit(
    sample: NDArray[np.integer], parts: TokenParts, *, tokenizer: PreTrainedTokenizerBase, vocabulary: Vocabulary
) -> tuple[NDArray[np.float32], NDArray[np.uint8], float, Accuracy | None]:
    """Weights, company, shift and accuracy."""
    forms = [case(word) for word in (*POSSESSIVES, *OBJECTS, "her") for case in (str.lower, str.capitalize)]
    matcher = Matcher(forms, tokenizer=tokenizer, vocabulary=vocabulary)
    matches = matcher.find(sample)
    form = matcher.forms[matches.spelling] // 2
    free = matches.joint == Joint.FREE
    possessive = form < len(POSSESSIVES)
    alone = _alone(sample, matches, asked=free & (form == 0), vocabulary=vocabulary)
    is_her = form == len(POSSESSIVES) + len(OBJECTS)
    held_out = matches.position // sample.shape[1] % HELD_OUT_EVERY == 0
    examples = free & ~alone & ~is_her & ~held_out
    number, share = int(examples.sum()), float(possessive[examples].mean()) if examples.any() else 0.0
    if number < LEAST_EXAMPLES or not 0 < share < 1:
        raise UserError(
            f"the sample of {len(sample)} rows holds {number} of {', '.join((*POSSESSIVES, *OBJECTS))}, of which "
            f"{share:.0%} are possessive; which her is him cannot be learned from fewer than {LEAST_EXAMPLES} of both "
            f"kinds: take more rows (intervention.sample_rows)"
        )
    company = company_of_words(sample, parts)
    chosen = matches[examples]
    orders = np.array([np.argsort(draw(epoch, int(Stream.FIT), np.arange(number))) for epoch in range(_EPOCHS)])
    words = Words(sample.reshape(-1), sample.shape[1], parts)
    found, quoted = features(words, chosen.position, chosen.position + chosen.length, company)
    begin = np.zeros((1 << WEIGHT_BITS) + 1, np.float32)
    begin[hashed(RELATION, *object_relations().T)] = OBJECT_LOG_ODDS
    weights = learn(found, possessive[examples] & ~quoted, orders, begin)
    reader = CorpusReader("", parts, weights, company, 0.0, None)
    scores = reader.log_odds(sample, matches[free & is_her])
    her_possessive = share_by_expectation_maximisation(scores, share)
    shift = _logit(her_possessive) - _logit(share)
    hidden = free & ~alone & held_out & ((form == 0) | (form == len(POSSESSIVES)))
    if not hidden.any():
        return weights, company, shift, None
    scores = reader.log_odds(sample, matches[hidden])
    accuracy = _accuracy(
        scores, possessive[hidden], shift=shift, her_possessive=her_possessive, examples=possessive[examples]
    )
    return weights, company, shift, accuracy


def _alone(
    sample: NDArray[np.integer], matches: Matches, *, asked: NDArray[np.bool_], vocabulary: Vocabulary
) -> NDArray[np.bool_]:
    """(K,) whether his stands where her would be hers ("a friend of his"), so that it is no example of her."""
    independence = Independence(vocabulary)
    words = matches[asked]
    verdict = independence.by_next_token[sample.reshape(-1)[words.position + words.length]]
    independence.settle(sample, words, verdict)
    alone = np.zeros(len(matches), np.bool_)
    alone[asked] = verdict != 0
    return alone


def share_by_expectation_maximisation(log_odds: NDArray[np.floating], share: float) -> float:
    """Share of possessives among places whose class is not known.

    Args:
        log_odds: (K,) of possessive to object, at the base rate `share` of the examples.
    """
    estimate = share
    for _ in range(_EM_ROUNDS if len(log_odds) else 0):
        shifted = log_odds.astype(np.float64) + _logit(estimate) - _logit(share)
        estimate = float(np.clip(np.mean(1 / (1 + np.exp(-shifted))), 0.01, 0.99))
    return estimate


def _logit(share: float) -> float:
    return math.log(share / (1 - share))


def _accuracy(
    log_odds: NDArray[np.floating],
    possessive: NDArray[np.bool_],
    *,
    shift: float,
    her_possessive: float,
    examples: NDArray[np.bool_],
) -> Accuracy:
    right = (log_odds > 0) == possessive
    as_her = (log_odds + shift > 0) == possessive
    interval = binomtest(int(right.sum()), len(right)).proportion_ci(method="wilson")
    of_his = float(as_her[possessive].mean()) if possessive.any() else None
    of_him = float(as_her[~possessive].mean()) if not possessive.all() else None
    at_rate_of_her = None
    if of_his is not None and of_him is not None:
        at_rate_of_her = her_possessive * of_his + (1 - her_possessive) * of_him
    return Accuracy(
        n=len(right),
        accuracy=float(right.mean()),
        ci_low=float(interval.low),
        ci_high=float(interval.high),
        always_his=float(possessive.mean()),
        of_his=of_his,
        of_him=of_him,
        at_rate_of_her=at_rate_of_her,
        her_possessive=her_possessive,
        examples=len(examples),
        examples_possessive=float(examples.mean()),
    )
