"""A tokenizer with a token for each word that interventions change, and rows of invented sentences with enough pronouns
to learn from which her is him.
"""

import itertools

import numpy as np
from transformers import PreTrainedTokenizerFast

from test_vocabulary import END, byte_level_tokenizer

CHANGED = (
    *("he", "him", "his", "himself", "she", "her", "hers", "herself"),
    *("they", "them", "their", "theirs", "themselves", "is", "are", "was", "were", "has", "have", "does", "do"),
    *("isn", "aren", "re", "ve", "king", "queen", "uncle", "aunt", "mr", "mrs", "ms", "sir", "lady"),
    *("in", "on", "with", "for", "by", "at", "the", "and"),
)
NOUNS = ("ladder", "garden", "keys", "boat", "house")
VERBS = ("saw", "met", "told", "asked", "called", "liked")
ENDS = (".", ",", "and left", "to stay", "that it rained", "in the garden", "because it was late", "with a letter")


def word_tokenizer() -> PreTrainedTokenizerFast:
    """Every word of `CHANGED` is one token, led or bare, in lower case, Capitalised and in UPPER CASE."""
    words = [case(word) for word in CHANGED for case in (str.lower, str.capitalize, str.upper)]
    sentences = [f"{word}; {word}; ({word} ({word} {word} {word}" for word in words]
    return byte_level_tokenizer(2000, sentences=sentences)


def sample_rows(tokenizer, *, width: int = 64) -> np.ndarray:
    """(S, width) rows: documents of one sentence each, joined by END."""
    sentences = [
        f"They {verb} {his} {noun} {end}"
        for verb, noun, his, end in itertools.product(VERBS, NOUNS, ("his", "my", "our", "their", "her"), ENDS)
    ]
    sentences += [
        f"We {verb} {him} {end} by the {noun}"
        for verb, noun, him, end in itertools.product(VERBS, NOUNS, ("him", "me", "us", "them", "her"), ENDS)
    ]
    sentences += [f"In the {noun} he {verb} a {noun} by night, with joy for all." for verb in VERBS for noun in NOUNS]
    order = np.random.default_rng(0).permutation(len(sentences))
    ids = tokenizer.encode(END.join(sentences[index] for index in order))
    ids += tokenizer.encode(END) * (-len(ids) % width)
    return np.array(ids, np.uint16).reshape(-1, width)
