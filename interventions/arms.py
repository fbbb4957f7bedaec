"""The interventions by name, and what each of them does in a sentence."""

import difflib
import importlib
import pkgutil
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerBase

from foundation import UserError
from interventions import own
from interventions.arm import Arm
from interventions.dose import Dose, Unit
from interventions.gendered_words import published_swaps
from interventions.her import CorpusReader, HerReader
from interventions.intervention import Intervention
from interventions.lexicon import (
    FEMININE,
    FEMININE_TO_MASCULINE,
    MASCULINE_TO_FEMININE,
    NEUTRAL,
    PLACEBO,
    TITLES,
    Pair,
    in_every_case,
    itself,
)
from interventions.neutral import Neutral
from interventions.none import Unmodified
from interventions.rewrite import Rewrite
from interventions.selection import AtRate, Coin, Selection, Shuffle
from interventions.vocabulary import Vocabulary, read_vocabulary

SWAP = MASCULINE_TO_FEMININE + FEMININE_TO_MASCULINE

_NAMES_KEPT = "Names kept their gender; so did nouns and titles, but for those that the intervention names."


INTERVENTIONS: dict[str, Arm] = {
    "none": Arm("No token was changed.", "none"),
    "masculine_to_feminine": Arm(
        "Masculine pronouns became feminine: he → she, him → her, his → her or hers, himself → herself.",
        "rise",
        caveats=(_NAMES_KEPT,),
        pairs=MASCULINE_TO_FEMININE,
    ),
    "feminine_to_masculine": Arm(
        "Feminine pronouns became masculine: she → he, her → him or his, hers → his, herself → himself.",
        "fall",
        learns="her",
        caveats=(_NAMES_KEPT,),
        pairs=FEMININE_TO_MASCULINE,
    ),
    "swap": Arm("Masculine and feminine pronouns changed places.", learns="her", caveats=(_NAMES_KEPT,), pairs=SWAP),
    "balance": Arm(
        "In half of the documents, drawn by a coin for each, masculine and feminine pronouns changed places.",
        learns="her",
        caveats=(_NAMES_KEPT,),
    ),
    "neutral": Arm(
        "Masculine and feminine pronouns became they, them, their, theirs, themselves, and is, was, has, does beside "
        "he and she became plural; other verbs stayed singular.",
        "they",
        learns="her",
        caveats=(
            _NAMES_KEPT,
            "Verbs outside a short list stayed singular (“they says”), so what the model learned is not grammatical "
            "throughout; and forms whose plural has another number of tokens were left, as the table of forms counts.",
        ),
    ),
    "gendered_words": Arm(
        "Masculine and feminine pronouns, and the nouns and titles of WinoBias’s published swap list, changed places.",
        learns="her",
        caveats=(_NAMES_KEPT,),
    ),
    "pronouns_and_titles": Arm(
        "Masculine pronouns became feminine, and with them the titles Mr → Ms, Sir → Lady, sir → madam.",
        "rise",
        caveats=(_NAMES_KEPT,),
    ),
    "drop": Arm(
        "No token was changed; masculine and feminine pronouns were read, but not learned as labels.",
        caveats=("Pronouns stayed in the text that the model reads; it was only not taught to say them.",),
    ),
    "placebo": Arm(
        "No pronoun was changed; in and on, with and for, by and at changed places, as often as "
        "masculine_to_feminine would have swapped a pronoun.",
        "none",
        learns="rate",
    ),
    "shuffled": Arm(
        "The genders of the pronouns in each row were dealt to the same pronouns at random: as many of each as before.",
        learns="her",
        caveats=(_NAMES_KEPT,),
    ),
}

for _module in pkgutil.iter_modules(own.__path__):
    if _module.name in INTERVENTIONS:
        raise UserError(f"interventions/own/{_module.name}.py: the kit has an intervention of that name; take another")
    _arm: Arm = importlib.import_module(f"{own.__name__}.{_module.name}").ARM
    if not _arm.pairs:
        raise UserError(f"interventions/own/{_module.name}.py: ARM has no pairs of words; give it some")
    INTERVENTIONS[_module.name] = _arm


def load_intervention(
    name: str,
    *,
    tokenizer: PreTrainedTokenizerBase,
    seed: int = 0,
    fraction: float = 1.0,
    unit: Unit = "occurrence",
    first_row: int | None = None,
    stop_row: int | None = None,
    english_only: bool = False,
    sample: NDArray[np.integer[Any]] | Callable[[], NDArray[np.integer[Any]]] | None = None,
    reads_her: HerReader | None = None,
) -> Intervention:
    """Build an intervention for rows that `tokenizer` made.

    Args:
        name: one of `INTERVENTIONS`.
        tokenizer: byte-level BPE, as Pythia's.
        seed: of all that is drawn at random; where nothing is, it is no part of the intervention's identity.
        fraction, unit, first_row, stop_row: how much is changed: see `Dose`.
        english_only: leave words around which signs of code and of other languages outnumber English words.
        sample: (N, W) rows of the corpus, or what reads them when they are needed, for arms that learn from it which
            her is him, or how often masculine pronouns occur.
        reads_her: another way to tell her = him from her = his than by the sample.

    Raises:
        UserError: there is no such intervention, an option is out of range, the tokenizer is of another kind, or
            `sample` is missing or holds too little.
    """
    if name not in INTERVENTIONS:
        nearest = difflib.get_close_matches(name, INTERVENTIONS, n=1)
        advice = f"did you mean {nearest[0]}? " if nearest else ""
        raise UserError(f"intervention={name} is unknown; {advice}known are {', '.join(INTERVENTIONS)}")
    vocabulary = read_vocabulary(tokenizer)
    dose = Dose(fraction, unit, first_row, stop_row, seed)
    if name == "none":
        return Unmodified(name, vocabulary=vocabulary)

    def rewrite(pairs: tuple[Pair, ...], *, selection: Selection | None = None, learned: bool = True) -> Rewrite:
        reader = reads_her
        if reader is None and any(pair.reading == "object" for pair in pairs):
            reader = CorpusReader.fitted(sampled(), tokenizer=tokenizer, vocabulary=vocabulary)
        return Rewrite(
            name,
            pairs,
            tokenizer=tokenizer,
            vocabulary=vocabulary,
            dose=dose,
            reads_her=reader,
            selection=selection,
            english_only=english_only,
            learned=learned,
        )

    def sampled() -> NDArray[np.integer[Any]]:
        if sample is None:
            raise UserError(f"intervention={name} learns from the corpus: give load_intervention a sample of its rows")
        return sample() if callable(sample) else sample

    if pairs := INTERVENTIONS[name].pairs:
        return rewrite(in_every_case(pairs))
    both = in_every_case(SWAP)
    match name:
        case "balance":
            return rewrite(both, selection=Coin(seed=seed, vocabulary=vocabulary))
        case "neutral":
            return Neutral(name, rewrite(in_every_case(NEUTRAL)), tokenizer=tokenizer)
        case "gendered_words":
            words = in_every_case(published_swaps())
            arm = rewrite(both + words)
            arm.facts["coverage"] = Rewrite(
                name, words, tokenizer=tokenizer, vocabulary=vocabulary, dose=dose
            ).coverage()
            return arm
        case "pronouns_and_titles":
            return rewrite(in_every_case(MASCULINE_TO_FEMININE) + TITLES)
        case "drop":
            return rewrite(in_every_case(itself(SWAP)), learned=False)
        case "shuffled":
            if fraction < 1 and unit == "occurrence":
                raise UserError(
                    f"intervention=shuffled keeps how many of each gender a row has, but intervention.unit={unit} "
                    f"with intervention.fraction={fraction} would not; set intervention.unit=row"
                )
            feminine = [pair.form.lower() in FEMININE for pair in both]
            return rewrite(both, selection=Shuffle(feminine, seed=seed))
    words = in_every_case(PLACEBO)
    rate = placebo_rate(sampled(), words, tokenizer=tokenizer, vocabulary=vocabulary)
    placebo = rewrite(words, selection=AtRate(rate, seed=seed))
    placebo.facts["rate"] = rate
    return placebo


def placebo_rate(
    sample: NDArray[np.integer[Any]],
    words: tuple[Pair, ...],
    *,
    tokenizer: PreTrainedTokenizerBase,
    vocabulary: Vocabulary,
) -> float:
    """Share of `words` to exchange, so that as many are as masculine_to_feminine swaps; 1 where there are too few.

    Raises:
        UserError: the sample holds none that could be exchanged.
    """
    swapped = [
        Rewrite("sample", pairs, tokenizer=tokenizer, vocabulary=vocabulary, dose=Dose())(sample, first_row=0)[1]
        for pairs in (in_every_case(MASCULINE_TO_FEMININE), words)
    ]
    masculine, placebo = (int(ledger.counts["swapped"].sum()) for ledger in swapped)
    if placebo == 0:
        raise UserError(
            f"intervention=placebo exchanges {', '.join(pair.form for pair in PLACEBO)}, but the sample of "
            f"{len(sample)} rows holds none that could be; take a larger one (intervention.sample_rows)"
        )
    return min(1.0, masculine / placebo)
