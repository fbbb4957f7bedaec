"""Whether the trained model shows that what the intervention changed was learned, by a stated rule.

The rule goes by the log-odds of the pronoun, on which a shift weighs the same wherever the model stands, and it allows
for what all prefixes share: two arms differ by more than sampling of prefixes explains even if their texts do not
matter. docs/evaluation.md has the measurement behind `NOISE` and the simulated error rates.
"""

from typing import Literal

from reports.comparison import no_verdict, other_differences
from reports.results import LEVEL, Estimate, Metric, Results, interval, number, words

# nats; above every change of the log-odds of she between checkpoints of the demo (27 in three suites), and of those of
# they once the learning rate is past its peak
NOISE = 1.3
# nats; what an intervention that takes should move the log-odds by at the least: sevenfold odds
EXPECTED = 2.0

Verdict = Literal[
    "taken",
    "not taken",
    "moved the other way",
    "unclear",
    "nothing moved, as expected",
    "moved no more than training noise does, as expected",
    "moved, though nothing was changed",
]
_SHARES = {"share_she": "P(she)/(P(he)+P(she))", "share_they": "P(they)/(P(he)+P(she)+P(they))"}


def verdict(change: Estimate, expects: str | None) -> Verdict | None:
    """What the main change of the log-odds says; see `manipulation_rule`.

    Args:
        expects: rise, fall, they (a rise of the log-odds of they), none, or None where that depends on the corpus.

    Returns:
        None where nothing definite was to be expected, or the change has no interval.
    """
    if expects is None or change.low is None or change.high is None:
        return None
    low, high = change.low - NOISE, change.high + NOISE
    if expects == "none":
        if low > 0 or high < 0:
            return "moved, though nothing was changed"
        if max(-low, high) >= EXPECTED:
            return "unclear"
        found = change.p is not None and change.p < LEVEL
        return "moved no more than training noise does, as expected" if found else "nothing moved, as expected"
    if expects == "fall":
        low, high = -high, -low
    if low > 0:
        return "taken"
    if high < 0:
        return "moved the other way"
    return "not taken" if high < EXPECTED else "unclear"


def manipulation_sentence(results: Results) -> str:
    """The verdict, and what happened to the checked share."""
    metric, judged = results.checked, results.judged
    if metric is None or judged is None:
        return "Manipulation check: not made, as the benchmark pronoun_prior was not evaluated."
    before, after = metric.levels["before"].value, metric.levels["after"].value
    evidence = f"{_SHARES[metric.name]} {_moved('rose' if after > before else 'fell', before, after)}"
    evidence += " in the intervened arm"
    if "control" in metric.levels:
        evidence += f" and {_moved('went', before, metric.levels['control'].value)} in the control arm."
    else:
        evidence += "; there is no control arm to tell it from further training."
    change = judged.changes[judged.main_change]
    evidence += f" The log-odds changed by {number(change.value, 2, signed=True)} nats ({words(judged.main_change)}"
    evidence += f", 95\u00a0% interval {interval(change, 2)}" if change.low is not None else ""
    evidence += f"); training alone moves them by up to {NOISE}."
    expects = results.run["intervention"]["expects"]
    if differences := other_differences(results.run):
        found = no_verdict(differences)
    elif expects is None:
        found = "no verdict, as what was to be expected depends on how many of each the corpus has"
    else:
        found = verdict(change, expects) or "no verdict, as so few prefixes bear no interval"
    return f"Manipulation check: {found}. {evidence}"


def manipulation_rule(metric: Metric, expects: str | None) -> str:
    """What the verdict goes by."""
    if expects is None:
        return "No rule: this intervention has no direction of its own."
    widened = (
        f"The rule goes by the log-odds: the 95\u00a0% interval of {words(metric.main_change)} is widened on both "
        f"sides by {NOISE} nats, more than these log-odds move between neighbouring checkpoints of the demo once its "
        f"learning rate falls from the peak, where no text was changed."
    )
    if expects == "none":
        return (
            f"{widened} “Moved” means that the widened interval leaves out zero; “nothing moved” or “no more than "
            f"training noise does”, that it lies within {EXPECTED:g} nats of zero; else it is unclear."
        )
    way = "fall" if expects == "fall" else "rise"
    return (
        f"{widened} “Taken” means that the widened interval holds nothing but a {way}; “moved the other way”, nothing "
        f"but the opposite; “not taken”, that it leaves out a {way} of {EXPECTED:g} nats, sevenfold odds; else it is "
        f"unclear."
    )


def _moved(verb: str, before: float, after: float) -> str:
    first, last = number(before, 2), number(after, 2)
    return f"stayed at {first}" if first == last else f"{verb} from {first} to {last}"
