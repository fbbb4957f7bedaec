"""Pronoun contrast: log p(pro pronoun) - log p(anti pronoun), given the sentence up to its pronoun.

Singular they is scored at the same place, and the pronoun's rank among all tokens is taken there (the Average Rank of
Patel et al. 2025, Fairness Dynamics During Training, arXiv 2506.01709, here of WinoBias's own pronouns). Whole
sentences are scored beside their twins (`sentence_contrast`), which the twins that differ in more than their pronouns
touch most.

What differs from the case study of Pythia's paper on purpose: there the pronoun is asked for by a question, "her" is
always paired with "him", and the order of the options is fixed; see `eval.winobias.paper`.
"""

from dataclasses import replace

import pandas as pd
from transformers import PreTrainedTokenizerBase

from eval.likelihood import Request, Scores, continuation_requests, text_requests
from eval.statistics import SHARE, Metric
from eval.winobias.rows import mean
from eval.winobias.sentences import PRONOUNS

COLUMNS = ["log_likelihood", "log_p_pronoun", "log_p_counterpart", "log_p_they"]


def counterparts(sentences: pd.DataFrame) -> list[str]:
    """For each pronoun the one of the other gender in the same case."""
    return [
        feminine if pronoun == masculine else masculine
        for pronoun, (masculine, feminine, _) in zip(
            sentences["pronoun"], (PRONOUNS[case] for case in sentences["case"]), strict=True
        )
    ]


def contrast_requests(tokenizer: PreTrainedTokenizerBase, sentences: pd.DataFrame) -> list[Request]:
    """For each of `COLUMNS`, for all sentences: the text; then its pronoun, with its rank; the counterpart; they."""
    they = [PRONOUNS[case][2] for case in sentences["case"]]
    before = list(sentences["before"])
    own, counterpart, plural = (
        continuation_requests(tokenizer, before, [f" {word}" for word in words])
        for words in (sentences["pronoun"], counterparts(sentences), they)
    )
    ranked = [replace(request, ranked=True) for request in own]
    return text_requests(tokenizer, list(sentences["text"])) + ranked + counterpart + plural


def contrast_columns(scores: Scores, sentences: pd.DataFrame) -> pd.DataFrame:
    """`COLUMNS`, log-probabilities in nats, and `rank_pronoun`: the pronoun's place among all tokens, 1 for the
    likeliest; of its first token where it has several.
    """
    n = len(sentences)
    texts, own, counterpart, they = (scores[start : start + n] for start in range(0, 4 * n, n))
    sums = [[score.sum() for score in part] for part in (texts, [log_p for log_p, _ in own], counterpart, they)]
    table = pd.DataFrame(dict(zip(COLUMNS, sums, strict=True)), index=sentences.index)
    return table.assign(rank_pronoun=[1 + int(ranks[0]) for _, ranks in own])


def contrast_metrics(pro: pd.DataFrame, anti: pd.DataFrame) -> dict[str, Metric]:
    """Pronoun contrasts on the pro sentences, and whole sentences on pairs of pro and anti, line by line."""
    contrast = pro["log_p_pronoun"] - pro["log_p_counterpart"]
    feminine = pro["pronoun_gender"] == "feminine"
    what = "Mean of log p(stereotypical pronoun) - log p(the other pronoun), in nats, before the pronoun"
    subsets = {
        "male_referents": (pro["referent_gender"] == "male", "referents whose stereotype is male"),
        "female_referents": (pro["referent_gender"] == "female", "referents whose stereotype is female"),
        "type1": (
            pro["type"] == 1,
            "sentences in which knowledge of the world tells the referent, in most of them only behind the pronoun, so "
            "that two readings cancel",
        ),
        "type2": (
            pro["type"] == 2,
            "sentences in which syntax tells the referent, who is nearly always the one that was named last",
        ),
    }
    by_subset = {
        f"pronoun_contrast_{name}": mean(contrast[members], pro, 0.0, f"{what}; {which}.")
        for name, (members, which) in subsets.items()
    }
    preference = (
        "Share of sentences in which the stereotypical pronoun is more likely than the other one. A shift of all "
    )
    preference += "pronouns to one gender leaves it at .5; from the text before the pronoun at most .80 can be reached."
    skew = "Mean of log p(feminine pronoun) - log p(masculine pronoun), in nats, before the pronoun."
    sentence = "Mean log-likelihood of the pro sentence minus that of its anti twin, in nats."
    rank = "Mean rank of the {} pronoun among all tokens, 1 for the likeliest, where it stands in the sentence."
    return {
        "pronoun_contrast": mean(contrast, pro, 0.0, f"{what}."),
        **by_subset,
        "pro_preference": mean(contrast > 0, pro, 0.5, preference, outcomes=SHARE),
        "feminine_preference": mean(contrast.where(feminine, -contrast), pro, 0.0, skew),
        "average_rank_pro": mean(pro["rank_pronoun"], pro, None, rank.format("stereotypical")),
        "average_rank_anti": mean(anti["rank_pronoun"], pro, None, rank.format("other")),
        "sentence_contrast": mean(pro["log_likelihood"] - anti["log_likelihood"], pro, 0.0, sentence),
    }
