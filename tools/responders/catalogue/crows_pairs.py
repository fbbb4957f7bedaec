"""Responders of the sets of CrowS-Pairs.

The sentences of a pair differ in words of any kind, so a stereotyped responder knows, as annotated, which of the two
is the less stereotypical one, and makes one token of it less likely: the first one, from where the two part, with which
no other sentence of the set goes on so. (Before that a model which reads from left to right cannot tell which pair it
is in; 421 of the 1508 pairs part at their first word.) It may be a word in which they differ or one that both share;
`stereotyped, shared` takes the latter only.
"""

from collections import Counter
from typing import cast

import numpy as np
import pandas as pd
from transformers import PreTrainedTokenizerBase

from eval.crows_pairs import CrowsPairs
from eval.crows_pairs.differences import MODIFIED, PREFIX, SHARED, Labels, label_tokens
from eval.evaluation import Benchmark
from eval.likelihood import Request
from tools.responders.contexts import Context
from tools.responders.knowledge import CERTAIN, coins, constant
from tools.responders.logits import Floats, Shift
from tools.responders.planted import DOWN, UP, Expected, Planted, around, change, level

_TILT = 1.0
_CERTAIN = 100.0  # nats; the sentences of some pairs are dozens of nats apart by their lengths
After = dict[Context, dict[int, float]]
Pairs = list[tuple[Request, Request]]


def plant(benchmark: Benchmark, tokenizer: PreTrainedTokenizerBase, rows: pd.DataFrame) -> list[Planted]:
    requests = cast(CrowsPairs, benchmark).requests(tokenizer)
    pairs = list(zip(requests[: len(rows)], requests[len(rows) :], strict=True))
    names = list(benchmark.metrics(rows))
    ones = np.ones(len(rows))
    planted = [
        Planted("always he", Shift(odds=constant(-CERTAIN)), _of_one_gender(DOWN)),
        Planted("always she", Shift(odds=constant(CERTAIN)), _of_one_gender(UP)),
        Planted("tilted", Shift(odds=constant(_TILT)), {"gender_feminine_difference": UP}),
        _stereotyped("stereotyped", discouraging(pairs, ones), pairs, benchmark, rows),
        _stereotyped("anti-stereotyped", discouraging(pairs, -ones), pairs, benchmark, rows),
        _stereotyped("stereotyped, shared", discouraging(pairs, ones, only=SHARED), pairs, benchmark, rows),
        Planted("random", Shift(after=discouraging(pairs, coins(len(rows)))), _random(names)),
    ]
    return [each.among(names) for each in planted]


def _of_one_gender(direction: Expected) -> dict[str, Expected]:
    return {
        "gender_feminine_preference": direction,
        "gender_feminine_difference": direction,
        "gender_pronouns_only_likelihood_difference": UP,
    }


def _random(names: list[str]) -> dict[str, Expected]:
    expected = {name: around(0.5) for name in names if name.endswith("pct_stereotype")}
    return expected | {name: around(0) for name in names if name.endswith("signed_difference")}


def _stereotyped(name: str, after: After, pairs: Pairs, benchmark: Benchmark, rows: pd.DataFrame) -> Planted:
    """Every signed difference changes by what is planted in its pairs, and shares count those that it decides."""
    labels = [label_tokens(more.continuation, less.continuation) for more, less in pairs]
    for column, kinds in (("", (MODIFIED, SHARED)), ("modified_", (MODIFIED,)), ("shared_", (SHARED,))):
        rows = rows.assign(
            **{
                f"{column}difference": [
                    _added(after, more, of_more, kinds) - _added(after, less, of_less, kinds)
                    for (more, less), (of_more, of_less) in zip(pairs, labels, strict=True)
                ]
            }
        )
    expected: dict[str, Expected] = {}
    for metric, planted in benchmark.metrics(rows.assign(per_token_difference=rows["difference"])).items():
        value = float(np.mean(planted.values))
        if metric.endswith("likelihood_difference"):
            expected[metric] = UP
        elif metric.endswith("difference"):
            expected[metric] = change(value)
        elif "feminine" not in metric and (np.asarray(planted.values) != 0.5).mean() > 0.9:
            expected[metric] = level(value)
    return Planted(name, Shift(after=after), expected)


def discouraging(pairs: Pairs, signs: Floats, *, only: int | None = None) -> After:
    """Make a token less likely in sent_less (sign 1) or in sent_more (-1): see above.

    Args:
        only: the label that it must have, MODIFIED or SHARED.
    """
    sentences = {request.continuation for pair in pairs for request in pair}
    beginnings = Counter(ids[:end] for ids in sentences for end in range(1, len(ids) + 1))
    after: After = {}
    for (more, less), sign in zip(pairs, signs, strict=True):
        labels = label_tokens(more.continuation, less.continuation)
        sentence, own = (less, labels[1]) if sign > 0 else (more, labels[0])
        for place in np.flatnonzero(own != PREFIX if only is None else own == only):
            begun = sentence.continuation[:place]
            if beginnings[sentence.continuation[: place + 1]] == 1:
                after.setdefault(sentence.context + begun, {})[sentence.continuation[place]] = -_CERTAIN
                break
    return after


def _added(after: After, sentence: Request, labels: Labels, kinds: tuple[int, ...]) -> float:
    """What is added to the logits of a sentence's tokens with one of these labels, in nats."""
    return sum(
        after.get(sentence.context + sentence.continuation[:place], {}).get(token, 0.0)
        for place, (token, label) in enumerate(zip(sentence.continuation, labels, strict=True))
        if label in kinds
    )
