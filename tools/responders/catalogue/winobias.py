"""Responders of `winobias`.

A stereotyped one knows, as annotated, whom the pronoun refers to, and what share of women works there: before the
pronoun the log-odds of she are raised by it, and asked whom a pronoun refers to, it names the occupation whose
stereotype has the pronoun's gender. In type 1 two readings often begin alike, so that no model which reads from left to
right can tell the referent before the pronoun; their mean is planted. One without coreference goes by the occupation
that was named last.
"""

from typing import cast

import numpy as np
import pandas as pd
from transformers import PreTrainedTokenizerBase

from eval.evaluation import Benchmark
from eval.likelihood import Request
from eval.winobias import PCT_FEMALE, WinoBias
from tools.responders.contexts import Context
from tools.responders.knowledge import (
    CERTAIN,
    coin,
    coins,
    constant,
    favouring,
    given_context,
    last_named,
    mean_by_context,
)
from tools.responders.logits import Floats, Shift
from tools.responders.planted import DOWN, SAME, UP, Expected, Planted, around, change, level

_TILT, _SLOPE = 1.0, 10.0
_GAPS = ("occupation_gap", "occupation_gap_type1", "occupation_gap_type2")
_ACCURACIES = ("occupation_accuracy_pro", "occupation_accuracy_anti")


def plant(benchmark: Benchmark, tokenizer: PreTrainedTokenizerBase, rows: pd.DataFrame) -> list[Planted]:
    requests = cast(WinoBias, benchmark).requests(tokenizer)
    nats = {name: _SLOPE * (share / 100 - 0.5) for name, share in PCT_FEMALE.items()}
    return [
        _of_one_gender("always he", -CERTAIN, {"pro_preference": level(0.5)}),
        _of_one_gender("always she", CERTAIN, {"pro_preference": level(0.5)}),
        _of_one_gender("tilted", _TILT, {}),
        _stereotyped("stereotyped", 1, requests, rows),
        _stereotyped("anti-stereotyped", -1, requests, rows),
        _certain(requests, rows),
        Planted("stereotyped, no coreference", Shift(odds=last_named(nats, tokenizer)), dict.fromkeys(_GAPS, SAME)),
        _random(requests, rows),
    ]


def _of_one_gender(name: str, nats: float, more: dict[str, Expected]) -> Planted:
    expected = {
        "pronoun_contrast": SAME,
        "pronoun_contrast_type1": SAME,
        "pronoun_contrast_type2": SAME,
        "pronoun_contrast_male_referents": change(-nats),
        "pronoun_contrast_female_referents": change(nats),
        "feminine_preference": change(nats),
        **dict.fromkeys([*_GAPS, *_ACCURACIES], SAME),
    }
    return Planted(name, Shift(odds=constant(nats)), expected | more)


def _before(requests: list[Request], rows: pd.DataFrame) -> list[Context]:
    """The context of each sentence's pronoun."""
    return [request.context for request in requests[len(rows) : 2 * len(rows)]]


def _certain(requests: list[Request], rows: pd.DataFrame) -> Planted:
    """What the stereotype of the referent suggests, beyond doubt: as often as one can tell who it is."""
    before = _before(requests, rows)
    nats = np.where(rows["referent_gender"] == "female", CERTAIN, -CERTAIN)
    means = mean_by_context(zip(before, nats, strict=True))
    feminine = np.where(rows["pronoun_gender"] == "feminine", 1, -1)
    decided = np.sign([means[context] for context in before]) * feminine
    own = rows["log_p_pronoun"] > rows["log_p_counterpart"]  # where the readings of a text cancel
    preferred = pd.Series(np.where(decided == 0, own, decided > 0), rows.index)
    most = preferred[rows["condition"] == "pro"].mean()
    return Planted(
        "stereotyped, certain", Shift(odds=given_context(list(nats), before)), {"pro_preference": level(most)}
    )


def _stereotyped(name: str, sign: int, requests: list[Request], rows: pd.DataFrame) -> Planted:
    before = _before(requests, rows)
    nats = sign * _SLOPE * (rows["referent"].map(PCT_FEMALE).to_numpy() / 100 - 0.5)
    means = mean_by_context(zip(before, nats, strict=True))
    feminine = np.where(rows["pronoun_gender"] == "feminine", 1, -1)
    contrast = pd.Series(feminine * np.array([means[context] for context in before]), rows.index)
    pro = rows[rows["condition"] == "pro"]
    parts = {
        "": pro,
        "_type1": pro[pro["type"] == 1],
        "_type2": pro[pro["type"] == 2],
        "_male_referents": pro[pro["referent_gender"] == "male"],
        "_female_referents": pro[pro["referent_gender"] == "female"],
    }
    higher, lower = (UP, DOWN) if sign > 0 else (DOWN, UP)
    fits = (rows["referent_gender"] == "female") == (rows["pronoun_gender"] == "feminine")
    return Planted(
        name,
        Shift(odds=given_context(list(nats), before), after=_answers(requests, np.where(fits, sign, -sign))),
        {
            **{f"pronoun_contrast{part}": change(contrast[own.index].mean()) for part, own in parts.items()},
            "pro_preference": higher,
            "sentence_contrast": higher,
            "average_rank_pro": lower,
            "average_rank_anti": higher,
            "occupation_accuracy_pro": level(1 if sign > 0 else 0),
            "occupation_accuracy_anti": level(0 if sign > 0 else 1),
            **{gap: level(sign) for gap in _GAPS},
        },
    )


def _random(requests: list[Request], rows: pd.DataFrame) -> Planted:
    return Planted(
        "random",
        Shift(odds=coin(), after=_answers(requests, coins(len(rows)))),
        {
            **{f"pronoun_contrast{part}": around(0) for part in ("", "_type1", "_type2")},
            "feminine_preference": around(0),
            "pro_preference": around(0.5),
            "sentence_contrast": around(0),
            **dict.fromkeys(_ACCURACIES, around(0.5)),
            **dict.fromkeys(_GAPS, around(0)),
        },
    )


def _answers(requests: list[Request], referent: Floats) -> dict[tuple[int, ...], dict[int, float]]:
    """The referent is named where `referent` is above 0, else the other occupation."""
    n = len(referent)
    named = [
        right if sign > 0 else other
        for right, other, sign in zip(requests[-2 * n : -n], requests[-n:], referent, strict=True)
    ]
    return favouring(named)
