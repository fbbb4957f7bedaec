"""Whether the trained model shows that what the intervention changed was learned, by a stated rule."""

from typing import Literal

from reports.comparison import no_verdict, other_differences
from reports.results import Estimate, Metric, Results, number, words

MINIMUM_CHANGE = 0.1
Verdict = Literal["taken", "not taken", "unclear", "nothing moved, as expected", "moved, though nothing was changed"]
_SHARES = {"share_she": "P(she)/(P(he)+P(she))", "share_they": "P(they)/(P(he)+P(she)+P(they))"}


def verdict(change: Estimate, expects: str | None) -> Verdict | None:
    """What the main change of the checked share says; see `manipulation_rule`.

    Args:
        expects: rise, fall, they (a rise of the share of they), none, or None where that depends on the corpus.

    Returns:
        None where nothing definite was to be expected, or the change has no interval.
    """
    if expects is None or change.low is None or change.high is None:
        return None
    if expects == "none":
        if max(-change.low, change.high) < MINIMUM_CHANGE:
            return "nothing moved, as expected"
        return "moved, though nothing was changed" if change.excludes_zero else "unclear"
    value, low, high = change.value, change.low, change.high
    if expects == "fall":
        value, low, high = -value, -high, -low
    if low > 0 and value >= MINIMUM_CHANGE:
        return "taken"
    return "not taken" if high < MINIMUM_CHANGE else "unclear"


def manipulation_sentence(results: Results) -> str:
    """The verdict, and what happened to the checked share."""
    metric = results.checked
    if metric is None:
        return "Manipulation check: not made, as the benchmark pronoun_prior was not evaluated."
    before, after = metric.levels["before"].value, metric.levels["after"].value
    evidence = f"{_SHARES[metric.name]} {_moved('rose' if after > before else 'fell', before, after)}"
    evidence += " in the intervened arm"
    if "control" in metric.levels:
        evidence += f" and {_moved('went', before, metric.levels['control'].value)} in the control arm."
    else:
        evidence += "; there is no control arm to tell it from further training."
    if differences := other_differences(results.run):
        return f"Manipulation check: {no_verdict(differences)}. {evidence}"
    found = verdict(metric.changes[metric.main_change], results.run["intervention"]["expects"])
    unknown = "no verdict, as what was to be expected depends on how many of each the corpus has"
    return f"Manipulation check: {found or unknown}. {evidence}"


def manipulation_rule(metric: Metric, expects: str | None) -> str:
    """What the verdict goes by."""
    change = words(metric.main_change)
    if expects is None:
        return "No rule: this intervention has no direction of its own."
    if expects == "none":
        return (
            f"By the rule nothing moved if the 95\u00a0% interval of {change} lies within {MINIMUM_CHANGE} of zero; it "
            f"moved if the interval reaches further and leaves out zero; else it is unclear."
        )
    way = "fall" if expects == "fall" else "rise"
    return (
        f"“Taken” means that the 95\u00a0% interval of {change} leaves out zero and that this change is a {way} of at "
        f"least {MINIMUM_CHANGE}; “not taken”, that the interval leaves out a {way} of {MINIMUM_CHANGE}; else it is "
        f"unclear."
    )


def _moved(verb: str, before: float, after: float) -> str:
    first, last = number(before, 2), number(after, 2)
    return f"stayed at {first}" if first == last else f"{verb} from {first} to {last}"
