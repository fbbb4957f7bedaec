"""What interventions measured of themselves, in words."""

from collections.abc import Mapping
from typing import Any


def fact_sentences(facts: Mapping[str, Any]) -> list[str]:
    """`Intervention.facts` as sentences for the reader of a result."""
    sentences = []
    her = facts.get("her", {})
    if her.get("method") == "language model":
        sentences.append("Which her is him and which is his, the start’s own model decided, in place.")
    elif "accuracy" in her:
        sentences.append(
            f"Which her is him and which is his was learned from {her['examples']:,} pronouns of the corpus. Of "
            f"{her['n']:,} hidden his and him in rows set aside {_percent(her['accuracy'])} were told right (95\u00a0% "
            f"interval {100 * her['ci_low']:.1f} to {100 * her['ci_high']:.1f}; always his: "
            f"{_percent(her['always_his'])})."
        )
    elif her:
        sentences.append(
            "Which her is him and which is his was learned from the corpus; how often that is right is not measured."
        )
    if "rate" in facts:
        sentences.append(f"Of the words that could be exchanged, {_percent(facts['rate'])} were drawn.")
        if facts["rate"] == 1:
            sentences.append("They are fewer than masculine_to_feminine would swap.")
    if "coverage" in facts:
        sentences.append(
            f"Of the published list’s words, in three cases each, {_percent(facts['coverage'])} have a replacement of "
            f"as many tokens."
        )
    return sentences


def _percent(share: float) -> str:
    return f"{100 * share:.1f}\u00a0%"
