"""Responders of the sets of CrowS-Pairs.

The sentences of a pair differ in words of any kind, so a stereotyped responder knows, as annotated, which of the two
is the more stereotypical one: where they part, it raises that one's next token and lowers the other's, half of what is
planted each. Two pairs that part at the same context and ask for opposite tokens are as one to a model that reads from
left to right, and their mean is planted. `shared` is the same for those who prefer the stereotype by what follows: the
first token that both sentences share after their difference becomes less likely in the other one.
"""

from typing import cast

import numpy as np
import pandas as pd
from transformers import PreTrainedTokenizerBase

from eval.crows_pairs import CrowsPairs
from eval.crows_pairs.differences import PREFIX, SHARED, label_tokens
from eval.evaluation import Benchmark
from eval.likelihood import Request
from tools.responders.contexts import Context
from tools.responders.knowledge import CERTAIN, coins, constant
from tools.responders.logits import Floats, Shift
from tools.responders.planted import DOWN, UP, Expected, Planted, around, change

_TILT = 1.0
After = dict[Context, dict[int, float]]


def plant(benchmark: Benchmark, tokenizer: PreTrainedTokenizerBase, rows: pd.DataFrame) -> list[Planted]:
    requests = cast(CrowsPairs, benchmark).requests(tokenizer)
    pairs = list(zip(requests[: len(rows)], requests[len(rows) :], strict=True))
    names = list(benchmark.metrics(rows))
    planted = [
        Planted("always he", Shift(odds=constant(-CERTAIN)), _of_one_gender(DOWN)),
        Planted("always she", Shift(odds=constant(CERTAIN)), _of_one_gender(UP)),
        Planted("tilted", Shift(odds=constant(_TILT)), {"gender_feminine_difference": UP}),
        _stereotyped("stereotyped", pairs, np.ones(len(rows)), rows, benchmark),
        _stereotyped("anti-stereotyped", pairs, -np.ones(len(rows)), rows, benchmark),
        Planted("stereotyped, shared", Shift(after=_by_shared(pairs, 1)), _shared(UP)),
        Planted("anti-stereotyped, shared", Shift(after=_by_shared(pairs, -1)), _shared(DOWN)),
        Planted("random", Shift(after=_by_difference(pairs, coins(len(rows)))), _random(names)),
    ]
    return [
        Planted(each.responder, each.shift, {name: met for name, met in each.expected.items() if name in names})
        for each in planted
    ]


def _of_one_gender(direction: Expected) -> dict[str, Expected]:
    return {
        "gender_feminine_preference": direction,
        "gender_feminine_difference": direction,
        "gender_pronouns_only_likelihood_difference": UP,
    }


def _shared(direction: Expected) -> dict[str, Expected]:
    return {"gender_shared_preference": direction, "gender_shared_difference": direction}


def _stereotyped(
    name: str, pairs: list[tuple[Request, Request]], signs: Floats, rows: pd.DataFrame, benchmark: Benchmark
) -> Planted:
    after = _by_difference(pairs, signs)
    shifts = pd.Series([_planted(after, more, less) for more, less in pairs], rows.index)
    direction = UP if signs[0] > 0 else DOWN
    planted = rows.assign(difference=shifts, modified_difference=shifts)
    expected: dict[str, Expected] = {}
    for metric, found in benchmark.metrics(planted).items():
        if "shared" in metric or "feminine" in metric:
            continue
        if metric.endswith(("signed_difference", "modified_difference")):
            expected[metric] = change(float(np.mean(found.values)))
        else:
            expected[metric] = UP if metric.endswith("likelihood_difference") else direction
    return Planted(name, Shift(after=after), expected)


def _random(names: list[str]) -> dict[str, Expected]:
    expected = {name: around(0.5) for name in names if name.endswith("pct_stereotype")}
    return expected | {name: around(0) for name in names if name.endswith("signed_difference")}


def _by_difference(pairs: list[tuple[Request, Request]], signs: Floats) -> After:
    """Raise the next token of sent_more (sign 1) or sent_less (-1) where the two part, and lower the other's."""
    asked: dict[Context, list[dict[int, float]]] = {}
    for (more, less), sign in zip(pairs, signs, strict=True):
        if (place := _parting(more, less)) is not None:
            one, other = more.continuation[place], less.continuation[place]
            context = more.context + more.continuation[:place]
            asked.setdefault(context, []).append({one: sign * CERTAIN / 2, other: -sign * CERTAIN / 2})
    return {
        context: {token: sum(each.get(token, 0.0) for each in shifts) / _askers(shifts, token) for shift in shifts for token in shift}
        for context, shifts in asked.items()
    }


def _askers(shifts: list[dict[int, float]], token: int) -> int:
    return sum(token in shift for shift in shifts)


def _planted(after: After, more: Request, less: Request) -> float:
    """By how much the shift raises the log-likelihood of sent_more over that of sent_less where they part, in nats."""
    if (place := _parting(more, less)) is None:
        return 0.0
    added = after[more.context + more.continuation[:place]]
    return added[more.continuation[place]] - added[less.continuation[place]]


def _parting(more: Request, less: Request) -> int | None:
    """The first place where the sentences' tokens differ; None where one begins the other."""
    both = zip(more.continuation, less.continuation, strict=False)
    return next((place for place, (one, other) in enumerate(both) if one != other), None)


def _by_shared(pairs: list[tuple[Request, Request]], sign: int) -> After:
    """Lower the first token that both share after their difference, in sent_less (sign 1) or in sent_more (-1)."""
    after: After = {}
    for more, less in pairs:
        labels = label_tokens(more.continuation, less.continuation)
        sentence, own = (less, labels[1]) if sign > 0 else (more, labels[0])
        if (places := np.flatnonzero(own == SHARED)).size:
            context = sentence.context + sentence.continuation[: places[0]]
            after.setdefault(context, {})[sentence.continuation[places[0]]] = -CERTAIN
    return after
