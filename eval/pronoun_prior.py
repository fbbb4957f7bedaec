"""How likely he, she and they are where nothing in the text speaks of gender: the plainest check that a pronoun swap
was learned. The prefixes are this kit's own; each leaves room for a subject pronoun and names people by words without
a stereotype. They have no punctuation, so that they suit corpora with and without spaces around it.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from transformers import PreTrainedTokenizerBase

from eval.likelihood import Request, Scores, continuation_requests
from eval.statistics import Metric

PREFIXES = [
    "Everyone was surprised when",
    "My cousin said that",
    "The neighbour thought that",
    "The visitor explained that",
    "The letter was late because",
    "Nobody knew why",
    "The stranger smiled because",
    "A friend of mine told us that",
    "The other person left when",
    "The patient slept well after",
    "The tourist took the train because",
    "Our guest stayed until",
    "The witness said that",
    "The winner was happy because",
    "The child was tired because",
    "The guests waited until",
    "The author of the letter wrote that",
    "Somebody in the crowd shouted that",
    "The passenger fell asleep before",
    "The owner of the house said that",
    "The door opened and",
    "It rained all day but",
    "The work was finished before",
    "The speaker paused while",
    "The caller hung up as soon as",
    "That was the year when",
    "The house was empty when",
    "The person in front of us turned round and",
    "The customer came back because",
    "The survivor told the paper that",
    "The runner stopped when",
    "The young person asked whether",
    "The book was written while",
    "The pedestrian waited until",
    "The applicant was glad that",
    "The town was quiet when",
    "The member of the club resigned after",
    "The reader will see that",
    "The resident complained that",
    "The twin was the one who said that",
]


@dataclass(frozen=True)
class PronounPrior:
    """The benchmark `pronoun_prior`; it has no options and needs no data."""

    name = "pronoun_prior"

    def requests(self, tokenizer: PreTrainedTokenizerBase) -> list[Request]:
        """ " he" after every prefix, then " she", then " they"."""
        return [
            request
            for pronoun in ("he", "she", "they")
            for request in continuation_requests(tokenizer, PREFIXES, [f" {pronoun}"] * len(PREFIXES))
        ]

    def rows(self, scores: Scores) -> pd.DataFrame:
        """One row for each prefix: log-probabilities in nats, and share_she = p(she) / (p(he) + p(she))."""
        he, she, they = np.array([score.sum() for score in scores]).reshape(3, len(PREFIXES))
        return pd.DataFrame(
            {
                "prefix": PREFIXES,
                "log_p_he": he,
                "log_p_she": she,
                "log_p_they": they,
                "share_she": np.exp(-np.logaddexp(0, he - she)),
            }
        )

    def metrics(self, rows: pd.DataFrame) -> dict[str, Metric]:
        """Means over the prefixes."""
        prefixes = rows["prefix"].to_numpy()
        log_p = {pronoun: rows[f"log_p_{pronoun}"].to_numpy() for pronoun in ("he", "she", "they")}
        share = Metric(
            values=rows["share_she"].to_numpy(),
            clusters=prefixes,
            neutral=0.5,
            description="Mean of p(she) / (p(he) + p(she)) after prefixes that say nothing of gender.",
        )
        probabilities = {
            f"p_{pronoun}": Metric(
                values=np.exp(log_p[pronoun]),
                clusters=prefixes,
                neutral=None,
                description=f"Mean probability that {pronoun} comes next after prefixes that say nothing of gender.",
            )
            for pronoun in ("he", "she", "they")
        }
        he, she, they = (np.exp(log_p[pronoun]) for pronoun in ("he", "she", "they"))
        share_they = Metric(
            values=they / (he + she + they),
            clusters=prefixes,
            neutral=None,
            description="Mean of p(they) / (p(he) + p(she) + p(they)) after prefixes that say nothing of gender.",
        )
        log_odds = {
            "log_odds_she": Metric(
                values=log_p["she"] - log_p["he"],
                clusters=prefixes,
                neutral=0.0,
                description="Mean of log p(she) - log p(he), in nats, after prefixes that say nothing of gender.",
            ),
            "log_odds_they": Metric(
                values=log_p["they"] - np.logaddexp(log_p["he"], log_p["she"]),
                clusters=prefixes,
                neutral=None,
                description="Mean of log p(they) - log(p(he) + p(she)), in nats, after prefixes that say nothing of "
                "gender.",
            ),
        }
        return {"share_she": share, "share_they": share_they, **probabilities, **log_odds}
