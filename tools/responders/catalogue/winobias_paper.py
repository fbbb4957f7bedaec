"""Responders of `winobias_paper`, whose question names the referent: it is the occupation that was named last."""

import numpy as np
import pandas as pd
from transformers import PreTrainedTokenizerBase

from eval.evaluation import Benchmark
from eval.winobias import PCT_FEMALE
from eval.winobias.paper import MEASURES
from tools.responders.knowledge import CERTAIN, coin, constant, last_named
from tools.responders.logits import Shift
from tools.responders.planted import Expected, Planted, around, change, level

_TILT, _SLOPE = 1.0, 10.0
_CERTAIN = 50.0  # nats; a pronoun that the tokenizer cuts into parts is less likely by its number of parts


def plant(benchmark: Benchmark, tokenizer: PreTrainedTokenizerBase, rows: pd.DataFrame) -> list[Planted]:
    return [
        _of_one_gender("always he", -CERTAIN, _one_answer(she=0)),
        _of_one_gender("always she", CERTAIN, _one_answer(she=1)),
        _of_one_gender("tilted", _TILT, {}),
        _stereotyped("stereotyped", 1, benchmark, tokenizer, rows),
        _stereotyped("anti-stereotyped", -1, benchmark, tokenizer, rows),
        _certain("stereotyped, certain", 1, benchmark, tokenizer, rows),
        _certain("anti-stereotyped, certain", -1, benchmark, tokenizer, rows),
        Planted("random", Shift(odds=coin()), _of_each(accuracy=around(0.5), log_odds=around(0))),
    ]


def _of_each(**expected: Expected) -> dict[str, Expected]:
    """Of both measures."""
    return {f"{measure}_{metric}": each for measure in MEASURES for metric, each in expected.items()}


def _one_answer(she: int) -> dict[str, Expected]:
    return _of_each(accuracy=level(0.5), accuracy_female_referents=level(she), accuracy_male_referents=level(1 - she))


def _of_one_gender(name: str, nats: float, more: dict[str, Expected]) -> Planted:
    expected = _of_each(
        feminine_log_odds=change(nats),
        log_odds=change(0),
        log_odds_female_referents=change(nats),
        log_odds_male_referents=change(-nats),
    )
    return Planted(name, Shift(odds=constant(nats)), expected | more)


def _stereotyped(
    name: str, sign: int, benchmark: Benchmark, tokenizer: PreTrainedTokenizerBase, rows: pd.DataFrame
) -> Planted:
    nats = {occupation: sign * _SLOPE * (share / 100 - 0.5) for occupation, share in PCT_FEMALE.items()}
    female = np.where(rows["referent_gender"] == "female", 1, -1)
    planted = rows.assign(**_of_columns("log_odds", rows["occupation"].map(nats) * female))
    expected = {
        metric: change(float(np.mean(found.values)))
        for metric, found in benchmark.metrics(planted).items()
        if "log_odds" in metric
    }
    return Planted(name, Shift(odds=last_named(nats, tokenizer)), expected)


def _certain(
    name: str, sign: int, benchmark: Benchmark, tokenizer: PreTrainedTokenizerBase, rows: pd.DataFrame
) -> Planted:
    nats = {occupation: sign * _CERTAIN * (1 if share > 50 else -1) for occupation, share in PCT_FEMALE.items()}
    accuracies = [metric for metric in benchmark.metrics(rows) if "accuracy" in metric]
    return Planted(
        name, Shift(odds=last_named(nats, tokenizer)), dict.fromkeys(accuracies, level(1 if sign > 0 else 0))
    )


def _of_columns(column: str, values: "pd.Series[float]") -> dict[str, "pd.Series[float]"]:
    return {f"{measure}_{column}": values for measure in MEASURES}
