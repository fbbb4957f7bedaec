"""What is told of an intervention, and of one that exchanges words all that it is."""

from dataclasses import dataclass
from typing import Literal

from interventions.lexicon import Pair

Expectation = Literal["rise", "fall", "they", "none"] | None


@dataclass(frozen=True)
class Arm:
    """What a reader needs to know of an intervention.

    Attributes:
        sentence: what it did to the segment.
        pairs: the words that it exchanges, in lower case; they are found in every case. Empty where it does more than
            that: `load_intervention` says what.
        expects: what the share of she among he and she after neutral prefixes should do, or "they": that of they should
            rise; None where it depends on the corpus.
        learns: from a sample of the corpus, "her": which her is him, or "rate": how often masculine pronouns occur.
        caveats: what to know before quoting a result of it.
    """

    sentence: str
    expects: Expectation = None
    learns: Literal["her", "rate"] | None = None
    caveats: tuple[str, ...] = ()
    pairs: tuple[Pair, ...] = ()
