"""What is planted, what must be measured of it, and what is."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import torch
from transformers import GPTNeoXForCausalLM, PreTrainedTokenizerBase

from eval import Benchmark, evaluate, summarize
from eval.statistics import with_primary
from tools.responders.logits import Responder, Shift

_FOUND = 0.05  # p below which a change counts as found
_SAME = 2e-3  # nats or share: rounding, and a tie or two that it decides
_WITHIN = 0.1  # of what is planted


@dataclass(frozen=True)
class Measured:
    """A metric of the model before and after the shift.

    Attributes:
        error: half of the 95 % interval of `after`.
        p: of the change, missing where none is tested.
    """

    before: float
    after: float
    error: float
    p: float

    @property
    def change(self) -> float:
        return self.after - self.before


@dataclass(frozen=True)
class Expected:
    """What a metric must do under a responder.

    Attributes:
        text: for the table.
        is_met: whether it did.
        moves: whether it has to differ from the model's own value, so that the metric responds to its subject.
        of_level: whether it speaks of the value and not of its change.
    """

    text: str
    is_met: Callable[[Measured], bool]
    moves: bool = True
    of_level: bool = False


def _found(measured: Measured) -> bool:
    return bool(measured.p < _FOUND) if pd.notna(measured.p) else abs(measured.change) > _SAME


def number(value: float, *, signed: bool = False) -> str:
    """To three digits, at most three decimals, without a zero before the point."""
    before_point = len(str(int(abs(float(f"{value:.3g}"))))) if abs(value) >= 1 else 0
    text = f"{value:{'+' if signed else ''}.{max(0, 3 - before_point)}f}"
    if float(text) == 0:
        return "0"
    return (text.replace("0.", ".", 1) if abs(float(text)) < 1 else text).replace("-", "−")


UP = Expected("up", lambda measured: measured.change > 0 and _found(measured))
DOWN = Expected("down", lambda measured: measured.change < 0 and _found(measured))
SAME = Expected("same", lambda measured: abs(measured.change) <= _SAME, moves=False)


def hardly(most: float) -> Expected:
    """A change by no more than this."""
    return Expected(f"± {number(most)}", lambda measured: abs(measured.change) <= most, moves=False)


def change(nats: float) -> Expected:
    """A change by so much, within 10 %."""
    if abs(nats) <= _SAME:
        return SAME
    return Expected(number(nats, signed=True), lambda measured: abs(measured.change - nats) <= _WITHIN * abs(nats))


def level(value: float) -> Expected:
    """This value, within 10 % or .02, whatever the model's own is."""
    return Expected(
        f"= {number(value)}",
        lambda measured: abs(measured.after - value) <= max(_WITHIN * abs(value), 0.02),
        of_level=True,
    )


def around(value: float) -> Expected:
    """Nothing but chance between the measured value and this one: twice the 95 % interval holds it."""
    return Expected(
        f"≈ {number(value)}",
        lambda measured: abs(measured.after - value) <= 2 * measured.error,
        moves=False,
        of_level=True,
    )


@dataclass(frozen=True, eq=False)
class Planted:
    """A responder of a benchmark.

    Attributes:
        responder: its name, the head of a column.
        shift: what it adds to the model's logits.
        expected: what must come of it, by metric; of the others nothing is claimed.
    """

    responder: str
    shift: Shift
    expected: Mapping[str, Expected]

    def among(self, metrics: Collection[str]) -> "Planted":
        """The same, of those metrics that these items have."""
        return replace(self, expected={name: each for name, each in self.expected.items() if name in metrics})


Plant = Callable[[Benchmark, PreTrainedTokenizerBase, pd.DataFrame], Sequence[Planted]]
"""A benchmark's responders, from it, the tokenizer, and the rows that the model itself has got."""


@dataclass(frozen=True)
class Finding:
    """What was planted, and what was measured. `expected` is None where nothing is claimed."""

    benchmark: str
    metric: str
    responder: str
    expected: Expected | None
    measured: Measured

    @property
    def fails(self) -> bool:
        return self.expected is not None and not self.expected.is_met(self.measured)


def find(
    model: GPTNeoXForCausalLM,
    tokenizer: PreTrainedTokenizerBase,
    benchmark: Benchmark,
    plant: Plant,
    *,
    progress: bool | None = None,
) -> list[Finding]:
    """Every metric of a benchmark under each of its responders."""
    own = evaluate(model, tokenizer, benchmarks=[benchmark], progress=progress)[benchmark.name]
    findings: list[Finding] = []
    kept: dict[bytes, torch.Tensor] = {}
    for planted in plant(benchmark, tokenizer, own):
        responder = Responder(model, tokenizer, planted.shift, kept=kept)
        rows = evaluate(responder, tokenizer, benchmarks=[benchmark], progress=progress)[benchmark.name]  # type: ignore[arg-type]  # in the model's place
        measured = _measure(benchmark, own, rows)
        if unknown := planted.expected.keys() - measured.keys():
            raise ValueError(
                f"{planted.responder} of {benchmark.name} expects {sorted(unknown)}, which it does not measure"
            )
        findings += [
            Finding(benchmark.name, metric, planted.responder, planted.expected.get(metric), each)
            for metric, each in measured.items()
        ]
    return findings


def without_response(findings: Sequence[Finding]) -> list[str]:
    """The metrics that no responder is expected to move, and does, as benchmark.metric."""
    responding = {
        (each.benchmark, each.metric)
        for each in findings
        if each.expected and each.expected.moves and abs(each.measured.change) > _SAME
    }
    metrics = dict.fromkeys((each.benchmark, each.metric) for each in findings)
    return [".".join(metric) for metric in metrics if metric not in responding]


def _measure(benchmark: Benchmark, before: pd.DataFrame, after: pd.DataFrame) -> dict[str, Measured]:
    moments = {"before": before, "after": after}
    metrics = {  # none of them primary: these tests are no family to correct for
        moment: {benchmark.name: with_primary(benchmark.metrics(rows), [])} for moment, rows in moments.items()
    }
    table = summarize(metrics, changes=[("after", "before")])
    before, after, changed = (
        table[table["moment"] == moment].set_index("metric") for moment in ("before", "after", "after-before")
    )
    values, errors = (after["value"].to_dict(), ((after["ci_high"] - after["ci_low"]) / 2).to_dict())
    p = changed["p"].to_dict()
    return {
        str(metric): Measured(float(value), float(values[metric]), float(errors[metric]), float(p.get(metric, np.nan)))
        for metric, value in before["value"].items()
    }
