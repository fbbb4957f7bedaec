"""Whether a tokenizer does what Pythia's does, and whether it is the one that made a corpus.

Two tokenizers with one vocabulary may still split a text otherwise.
"""

from collections.abc import Iterable
from itertools import takewhile
from typing import cast

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerBase

from foundation import UserError

END_OF_DOCUMENT = "<|endoftext|>"

# What normalisers, prefix spaces, stripping and rules for words, digits and spaces would change
PROBES = (
    *("he", " he", "He", "HE", "she said", " She's", "he'll", "isn't it", "don\u2019t"),
    *("  two spaces", "trailing ", "\ttab", "line\nline", "\n\n", "a\r\nb", "    if x:\n        y"),
    *("1234567", " 3.14", "a-b_c", "(her)", "his/her", " (her), (him)", "e.g. Mr. Smith"),
    *("caf\u00e9", "na\u00efve", "\u4e2d\u6587", "\U0001f600", "a\u00a0b", "\u201cquoted\u201d", "\u0130I\u0131i"),
)
_MOST_OTHERWISE = 0.05  # of the tokens of rows; where rows cut a document, up to .002 are


def check_reads_back(tokenizer: PreTrainedTokenizerBase, *, where: str) -> None:
    """Raise UserError where a tokenizer does not keep a text as it stands, or begins texts otherwise than Pythia's.

    Args:
        where: it lies.
    """
    begins = tokenizer.bos_token or tokenizer.eos_token
    if begins not in (None, END_OF_DOCUMENT):
        raise UserError(
            f"the tokenizer of {where} begins texts with {begins!r}, Pythia's with {END_OF_DOCUMENT!r}, and benchmarks "
            f"would be read otherwise; set model.tokenizer to the tokenizer that the model was trained with"
        )
    backend = getattr(tokenizer, "backend_tokenizer", None)
    dropout = None if backend is None else getattr(backend.model, "dropout", None)  # only BPE has it
    if dropout:
        raise UserError(
            f"the tokenizer of {where} splits texts at random (dropout={dropout:g} of its merges), Pythia's always "
            f"alike; set dropout to null in its tokenizer.json, or set model.tokenizer to the tokenizer that the model "
            f"was trained with"
        )
    for probe in PROBES:
        ids = _encoded(tokenizer, probe)
        text = str(tokenizer.decode(ids, clean_up_tokenization_spaces=False))
        if text != probe:
            raise UserError(
                f"the tokenizer of {where} reads {probe!r} as {text!r}, but Pythia's keeps a text as it stands; set "
                f"model.tokenizer to the tokenizer that the model was trained with"
            )


def check_same_tokens(tokenizer: PreTrainedTokenizerBase, made_rows: Tokenizer, *, where: str, corpus: str) -> None:
    """Raise UserError where a tokenizer makes other tokens of a text than the one that made a corpus.

    Args:
        made_rows: the corpus's own.
        where: the first one lies.
        corpus: the corpus's location.
    """
    for probe in (*PROBES, *(f"{one} {other}" for one in PROBES for other in ("he", "1234"))):
        found, expected = _encoded(tokenizer, probe), made_rows.encode(probe, add_special_tokens=False).ids
        if found != expected:
            raise UserError(
                f"the tokenizer of {where} is not that of the corpus {corpus}: the vocabulary is the same, but it "
                f"makes {found} of {probe!r}, the corpus's {expected}; take the corpus of this model, or, "
                f"if it was made with the corpus's tokenizer, set model.tokenizer to that one"
            )


def foreign_rows(tokenizer: PreTrainedTokenizerBase, rows: NDArray[np.integer], *, corpus: str) -> str | None:
    """What to say where most of what rows hold is split otherwise than a tokenizer splits it; None where it is not.

    Another tokenizer made such rows, or they are no text at all.

    Args:
        rows: some of the corpus.
        corpus: its location.

    Raises:
        UserError: they hold an id that the tokenizer has no token for.
    """
    if rows.size and rows.max() >= len(tokenizer):
        raise UserError(
            f"rows of {corpus} hold token id {rows.max()}, but the vocabulary ends at {len(tokenizer) - 1}; take the "
            f"tokenizer that made these rows"
        )
    end = tokenizer.convert_tokens_to_ids(END_OF_DOCUMENT)
    otherwise = 0
    for piece in _documents(rows, end=cast(int, end)):
        again = _encoded(tokenizer, str(tokenizer.decode(piece, clean_up_tokenization_spaces=False)))
        otherwise += max(0, len(piece) - _common(piece, again) - _common(piece[::-1], again[::-1]))
    if otherwise <= _MOST_OTHERWISE * rows.size:
        return None
    return (
        f"The rows of {corpus} do not look like text that the checkpoint's tokenizer made: of {rows.size} tokens it "
        f"makes {otherwise} otherwise. What is learned from them says nothing about language."
    )


def _documents(rows: NDArray[np.integer], *, end: int) -> Iterable[list[int]]:
    """The pieces of documents in rows."""
    for row in rows:
        for piece in np.split(row, np.flatnonzero(row == end)):
            ids = [int(token) for token in piece if token != end]
            if ids:
                yield ids


def _common(one: list[int], other: list[int]) -> int:
    """Length of the common beginning."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))


def _encoded(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    return cast(list[int], tokenizer.encode(text, add_special_tokens=False))
