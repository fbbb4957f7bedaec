"""Responders of `winobias_generation`, by what they answer: the referent, or the other occupation of the pair.

A stereotyped one names the occupation whose stereotype has the pronoun's gender: in pro sentences the referent, in anti
ones the other. The other is the referent in the pair's second reading.
"""

from typing import cast

import numpy as np
import pandas as pd
from transformers import PreTrainedTokenizerBase

from eval.evaluation import Benchmark
from eval.likelihood import Request, encode
from eval.winobias import WinoBiasGeneration
from tools.responders.knowledge import coins, favouring
from tools.responders.logits import Floats, Shift
from tools.responders.planted import Expected, Planted, around, level

_CERTAIN = 50.0  # nats; a likely token of the model's own must not be likelier


def plant(benchmark: Benchmark, tokenizer: PreTrainedTokenizerBase, rows: pd.DataFrame) -> list[Planted]:
    items = cast(WinoBiasGeneration, benchmark).items
    pro = np.where(items["condition"] == "pro", 1.0, -1.0)
    names = list(benchmark.metrics(rows))

    def answering(name: str, referent: Floats, expected: dict[str, Expected]) -> Planted:
        return Planted(name, Shift(after=favouring(_answers(items, tokenizer, referent), _CERTAIN)), expected)

    return [
        answering("stereotyped", pro, _levels(names, pro=1, anti=0)),
        answering("anti-stereotyped", -pro, _levels(names, pro=0, anti=1)),
        answering("always the referent", np.ones(len(items)), _levels(names, pro=1, anti=1)),
        answering(
            "random",
            coins(len(items)),
            {name: around(0) for name in names if "net_bias" in name}
            | {name: around(0.5) for name in names if "_em_" in name},
        ),
    ]


def _levels(names: list[str], *, pro: int, anti: int) -> dict[str, Expected]:
    """What follows from the shares of pro and of anti sentences after which the referent is named."""
    return {
        **{name: level(pro - anti) for name in names if "net_bias" in name},
        **{name: level(pro) for name in names if "_em_pro" in name},
        **{name: level(anti) for name in names if "_em_anti" in name},
        **{name: level((pro + anti) / 2) for name in names if name.endswith("_accuracy")},
    }


def _answers(items: pd.DataFrame, tokenizer: PreTrainedTokenizerBase, referent: Floats) -> list[Request]:
    """After each prompt the referent where `referent` is above 0, else the other occupation, and an end."""
    places = items[["template", "type", "split", "condition"]].assign(pair=(items["line"] + 1) // 2)
    others = (
        items["referent"].groupby([places[name] for name in places]).transform(lambda pair: pair.iloc[::-1].to_numpy())
    )
    texts = [
        f" {own if sign > 0 else other}" for own, other, sign in zip(items["referent"], others, referent, strict=True)
    ]
    return [
        Request(context=prompt, continuation=(*answer, tokenizer.eos_token_id))
        for prompt, answer in zip(encode(tokenizer, list(items["prompt"])), encode(tokenizer, texts), strict=True)
    ]
