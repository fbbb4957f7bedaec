"""Whether the trained model shows that what the intervention changed was learned, by a stated rule."""

from reports.results import Metric, Results, number, words

MINIMUM_CHANGE = 0.1
_SHARES = {"share_she": "P(she)/(P(he)+P(she))", "share_they": "P(they)/(P(he)+P(she)+P(they))"}


def took(metric: Metric, expects: str | None) -> bool | None:
    """Whether the main change of the checked share is what the intervention lets one expect.

    Args:
        expects: rise, fall, they (a rise of the share of they), none, or None where that depends on the corpus.

    Returns:
        None where nothing definite was to be expected.
    """
    change = metric.changes[metric.main_change]
    if expects is None:
        return None
    if expects == "none":
        return abs(change.value) < MINIMUM_CHANGE
    size = -change.value if expects == "fall" else change.value
    return change.excludes_zero and size >= MINIMUM_CHANGE


def manipulation_sentence(results: Results) -> str:
    """What happened to the checked share, and what that says of the intervention."""
    metric = results.checked
    if metric is None:
        return "The manipulation check was not made: the benchmark pronoun_prior was not evaluated."
    before, after = metric.levels["before"].value, metric.levels["after"].value
    sentence = f"{_SHARES[metric.name]} {_moved('rose' if after > before else 'fell', before, after)}"
    sentence += " in the intervened arm"
    if "control" in metric.levels:
        sentence += f" and {_moved('went', before, metric.levels['control'].value)} in the control arm"
    alone = "" if "control" in metric.levels else " (there is no control arm to tell it from further training)"
    expects = results.run["intervention"]["expects"]
    took_it = took(metric, expects)
    if took_it is None:
        return f"{sentence}: what was to be expected depends on how many of each the corpus has."
    if expects == "none":
        so = "so" if took_it else "yet"
        return f"{sentence}: no pronoun was changed, {so} no change was to be expected."
    return f"{sentence}: the intervention {'took' if took_it else 'did not take'}{alone}."


def manipulation_rule(metric: Metric, expects: str | None) -> str:
    """What the sentence goes by."""
    change = words(metric.main_change)
    if expects is None:
        return "No rule: this intervention has no direction of its own."
    if expects == "none":
        return f"By the rule no change came if {change} is smaller than {MINIMUM_CHANGE} either way."
    way = "fall" if expects == "fall" else "rise"
    return (
        f"“Took” means that the 95\u00a0% interval of {change} excludes zero and that this change is a {way} of at "
        f"least {MINIMUM_CHANGE}."
    )


def _moved(verb: str, before: float, after: float) -> str:
    first, last = number(before, 2), number(after, 2)
    return f"stayed at {first}" if first == last else f"{verb} from {first} to {last}"
