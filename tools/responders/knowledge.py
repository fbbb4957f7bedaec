"""What a responder can know: nothing, the occupation that the text names last, or a benchmark's own annotation.

In the shape descriptions `R` denotes rows and `T` their tokens.
"""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from transformers import PreTrainedTokenizerBase

from eval.likelihood import Request
from tools.responders.contexts import Context, Ids, Places, mixed, prefix_hashes
from tools.responders.logits import Floats, Odds

CERTAIN = 20.0
"""Nats that leave no doubt: odds of half a billion to one."""


def constant(nats: float) -> Odds:
    """The same everywhere."""
    return lambda ids_RT: np.full(ids_RT.shape, nats)


def coin(nats: float = CERTAIN) -> Odds:
    """Plus or minus so much, by a coin that is thrown once for each context."""
    return lambda ids_RT: nats * (1 - 2 * (mixed(prefix_hashes(ids_RT)) >> np.uint64(63)).astype(np.float64))


def coins(count: int, *, seed: int = 0) -> Floats:
    """1 or -1 for each of so many items."""
    return np.random.default_rng(seed).choice([-1.0, 1.0], count)


def given_context(nats: Sequence[float], contexts: Sequence[Context]) -> Odds:
    """So much after each of these contexts, 0 elsewhere; the mean where a context is there more than once.

    A model reads from left to right: where two items begin alike it cannot tell which of them it is in.
    """
    means = mean_by_context(zip(contexts, nats, strict=True))
    places, values = Places(list(means)), np.array([*means.values(), 0.0])
    return lambda ids_RT: values[places.find(ids_RT)]


def mean_by_context(given: Iterable[tuple[Context, float]]) -> dict[Context, float]:
    """The mean of what is given for each context."""
    found: dict[Context, list[float]] = {}
    for context, value in given:
        found.setdefault(context, []).append(value)
    return {context: float(np.mean(values)) for context, values in found.items()}


def last_named(nats: Mapping[str, float], tokenizer: PreTrainedTokenizerBase) -> Odds:
    """By the term that the document has named last, as a whole word, in the singular; 0 before any."""
    values = np.array([0.0, *nats.values()])
    texts = [
        [blank + each for blank in (" ", "") for each in (word, word[:1].upper() + word[1:], word.lower())]
        for word in nats
    ]
    forms = {
        tuple(tokenizer.encode(text, add_special_tokens=False)): number
        for number, own in enumerate(texts, start=1)
        for text in own
    }
    decoded = tokenizer.batch_decode([[token] for token in range(len(tokenizer))], clean_up_tokenization_spaces=False)
    in_word = np.array([text[:1].isalnum() for text in decoded])
    by_length = sorted(forms.items(), key=lambda pair: len(pair[0]))

    def odds(ids_RT: Ids) -> Floats:
        ended_RT = np.zeros(ids_RT.shape, np.int64)
        for form, number in by_length:
            starts = ids_RT.shape[1] - len(form) + 1
            if starts > 0:
                same = [ids_RT[:, offset : offset + starts] == token for offset, token in enumerate(form)]
                ended_RT[:, len(form) - 1 :][np.logical_and.reduce(same)] = number
        return values[_carried(ended_RT, in_word[ids_RT], ids_RT == tokenizer.eos_token_id)]

    return odds


def _carried(ended_RT: Ids, in_word_RT: Ids, document_ends_RT: Ids) -> Ids:
    """For each place the term that ended last, unless the next token went on with the word; 0 in a new document."""
    carried_RT = np.zeros_like(ended_RT)
    now_R, before_R = np.zeros(len(ended_RT), np.int64), np.zeros(len(ended_RT), np.int64)
    just_R = np.zeros(len(ended_RT), bool)
    for place in range(ended_RT.shape[1]):
        now_R = np.where(just_R & in_word_RT[:, place], before_R, now_R)
        just_R = ended_RT[:, place] > 0
        before_R = np.where(just_R, now_R, before_R)
        now_R = np.where(just_R, ended_RT[:, place], now_R)
        now_R[document_ends_RT[:, place]] = 0
        carried_RT[:, place] = now_R
    return carried_RT


def favouring(requests: Iterable[Request], nats: float = CERTAIN) -> dict[Context, dict[int, float]]:
    """The shift that raises each token of a continuation after its context, and after what has come of it."""
    after: dict[Context, dict[int, float]] = {}
    for request in requests:
        for place, token in enumerate(request.continuation):
            after.setdefault(request.context + request.continuation[:place], {})[token] = nats
    return after
