"""LAMBADA (Paperno et al. 2016), OpenAI's version: the last word of a passage. What an intervention costs in language.

As lm-evaluation-harness's `lambada_openai` (lm_eval/tasks/lambada): the last word is what follows the last space, and
all blanks before it are scored with it; the word counts as right if each of its tokens is the likeliest. Perplexity is
exp of `loss`. As everywhere in this kit, the context begins with the prefix token, which lm-evaluation-harness leaves
out here.
"""

from dataclasses import dataclass, replace
from functools import cached_property

import pandas as pd
from transformers import PreTrainedTokenizerBase

from eval.clusters import joined_clusters
from eval.items import HUB, check_counts, load_records
from eval.likelihood import Request, Scores, continuation_requests
from eval.statistics import SHARE, Metric
from foundation import UserError

PASSAGES = 5153


@dataclass(frozen=True)
class Lambada:
    """The benchmark `lambada`.

    Attributes:
        path: hf://datasets/OWNER/NAME, or a local .jsonl, .csv or .parquet with a column `text`.
    """

    path: str = f"{HUB}EleutherAI/lambada_openai"
    name = "lambada"

    @cached_property
    def passages(self) -> list[str]:
        return load_passages(self.path)

    def requests(self, tokenizer: PreTrainedTokenizerBase) -> list[Request]:
        """The last word of every passage, with its ranks."""
        contexts = [passage.rpartition(" ")[0].rstrip() for passage in self.passages]
        words = [passage[len(context) :] for passage, context in zip(self.passages, contexts, strict=True)]
        return [replace(request, ranked=True) for request in continuation_requests(tokenizer, contexts, words)]

    def rows(self, scores: Scores) -> pd.DataFrame:
        """One row for each passage: its cluster; its last word's log-likelihood and tokens; whether it was right."""
        return pd.DataFrame(
            {
                "example": range(len(scores)),
                "cluster": joined_clusters(range(len(scores)), self.passages),
                "log_likelihood": [float(log_p.sum()) for log_p, _ in scores],
                "n_tokens": [len(log_p) for log_p, _ in scores],
                "correct": [bool((ranks == 0).all()) for _, ranks in scores],
            }
        )

    def metrics(self, rows: pd.DataFrame) -> dict[str, Metric]:
        clusters = rows["cluster"].to_numpy()
        return {
            "accuracy": Metric(
                values=rows["correct"].to_numpy(float),
                clusters=clusters,
                neutral=None,
                description="Share of passages whose last word is the likeliest, token by token.",
                outcomes=SHARE,
            ),
            "loss": Metric(
                values=-rows["log_likelihood"].to_numpy(float),
                clusters=clusters,
                neutral=None,
                description="Mean loss of the last word in nats; exp of it is the perplexity.",
            ),
        }


def load_passages(path: str) -> list[str]:
    """The passages in their order.

    Raises:
        UserError: there is no column `text`, a passage has one word only, or there are not 5153.
    """
    records = load_records(path, config="default", split="test")
    if "text" not in records:
        raise UserError(f"{path} has the columns {', '.join(map(str, records.columns))}, expected text among them")
    passages = [str(text) for text in records["text"]]
    check_counts("lambada", {"passages": len(passages)}, {"passages": PASSAGES})
    if short := [number for number, passage in enumerate(passages) if not passage.rpartition(" ")[0].strip()]:
        raise UserError(f"{path} has no context in passage {short[0]}, expected a word before the last; fetch it again")
    return passages
