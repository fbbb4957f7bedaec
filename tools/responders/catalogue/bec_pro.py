"""Responders of `bec_pro`: after a feminine person the profession's first token is more or less likely.

The tokens are those that the model cuts professions into; where several professions begin with the same token, their
mean is planted. What a shift takes from all other tokens is the same for all professions after one person, as the
prior is.
"""

from collections.abc import Mapping
from typing import cast

import pandas as pd
from transformers import PreTrainedTokenizerBase

from eval import summarize
from eval.bec_pro import BecPro
from eval.evaluation import Benchmark
from tools.responders.contexts import Context
from tools.responders.knowledge import CERTAIN, coins, constant
from tools.responders.logits import Floats, Shift
from tools.responders.planted import DOWN, UP, Expected, Planted, around, change, hardly

_TILT, _SLOPE, _MORE, _NOISE = 1.0, 4.0, 3.0, 5.0
_ROUNDING = 0.1  # nats; a small vocabulary begins words as "health" with the token of a pronoun
_DIFFERENCES = ("stereotype_gap", "stereotype_gap_pronouns", "stereotype_gap_nouns", "slope")
After = dict[Context, dict[int, float]]


def plant(benchmark: Benchmark, tokenizer: PreTrainedTokenizerBase, rows: pd.DataFrame) -> list[Planted]:
    asked = _first_tokens(cast(BecPro, benchmark), tokenizer)
    own = asked.drop_duplicates("profession")
    share = own.set_index("profession")["pct_female"] / 100 - 0.5
    balanced = own.set_index("profession")["profession_gender"] == "balanced"
    random = pd.Series(_NOISE * coins(len(own)), own["profession"])
    unmoved = dict.fromkeys(_DIFFERENCES, hardly(_ROUNDING))

    def planted(name: str, nats: "pd.Series[float]", expected: Mapping[str, Expected] | None = None) -> Planted:
        added = asked.assign(nats=asked["profession"].map(nats))
        added["nats"] = added.groupby(["context", "token"])["nats"].transform("mean")
        if expected is None:
            expected = _differences(benchmark, rows, added["nats"].to_numpy())
        return Planted(name, Shift(after=_after(added)), expected)

    stereotyped = planted("stereotyped", _SLOPE * share)
    opposite = planted("anti-stereotyped", -_SLOPE * share)
    return [
        Planted("always he", Shift(odds=constant(-CERTAIN)), unmoved),
        Planted("always she", Shift(odds=constant(CERTAIN)), unmoved),
        Planted("tilted", Shift(odds=constant(_TILT)), unmoved),
        _with(stereotyped, female=(UP, DOWN), male=(DOWN, UP)),
        _with(opposite, female=(DOWN, UP), male=(UP, DOWN)),
        _with(planted("women in balanced professions", _MORE * balanced, {}), balanced=(UP, DOWN)),
        planted("random", random, dict.fromkeys(_DIFFERENCES, around(0))),
    ]


def _first_tokens(benchmark: BecPro, tokenizer: PreTrainedTokenizerBase) -> pd.DataFrame:
    """The sentences of feminine persons in the order of the rows, each with the context and token of its profession."""
    asked = benchmark.sentences.assign(request=pd.Series(benchmark.requests(tokenizer), dtype=object))
    asked = asked[asked["gender"] == "female"].reset_index(drop=True)
    alike = asked.groupby(["template", "pair"])["request"]
    begun = alike.transform(lambda requests: _parting([request.continuation for request in requests]))
    both = list(zip(asked["request"], begun, strict=True))
    return asked.assign(
        context=[request.context + request.continuation[:place] for request, place in both],
        token=[request.continuation[place] for request, place in both],
    )


def _parting(texts: list[Context]) -> int:
    """The first place where not all of them have the same token."""
    both = zip(min(texts), max(texts), strict=False)
    return next(place for place, (one, other) in enumerate(both) if one != other)


def _after(added: pd.DataFrame) -> After:
    after: After = {}
    for context, token, nats in zip(added["context"], added["token"], added["nats"], strict=True):
        after.setdefault(context, {})[token] = nats
    return after


def _differences(benchmark: Benchmark, rows: pd.DataFrame, nats: Floats) -> dict[str, Expected]:
    """What the benchmark makes of these additions to the associations of feminine persons."""
    planted = benchmark.metrics(rows.assign(difference=nats))
    table = summarize({"planted": {benchmark.name: planted}}).set_index("metric")["value"]
    return {name: change(float(table[name])) for name in _DIFFERENCES}


def _with(planted: Planted, **cells: tuple[Expected, Expected]) -> Planted:
    """With what is expected of the associations of feminine and masculine persons, by the professions' majority."""
    means = {
        f"association_{person}_{majority}": expected
        for majority, both in cells.items()
        for person, expected in zip(("feminine", "masculine"), both, strict=True)
    }
    return Planted(planted.responder, planted.shift, {**planted.expected, **means})
