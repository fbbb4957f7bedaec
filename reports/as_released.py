"""What the one pushed version of the original intervention code does: evidence, and no arm.

The branch `new-intervention` of gpt-neox (`megatron/training.py`) builds the swapped text of a row and then tokenizes
the unswapped one. So no pronoun changes. What changes in a row that holds a masculine pronoun between two spaces is
that its end-of-document tokens vanish, and that padding, which enters the loss, fills its tail. Rows of the
deduplicated Pile hold no end-of-document tokens and stay as they are, but for what tokenizing again changes at their
edges.

Legend: S rows, W tokens in a row.
"""

import re
from typing import Any

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerBase

from foundation import UserError

PADDING, END_OF_DOCUMENT = "<|padding|>", "<|endoftext|>"
MASCULINE_BETWEEN_SPACES = re.compile(r"(?<= )(?:he|him|his|He|Him|His)(?= )")


def as_released(rows: NDArray[np.integer[Any]], tokenizer: PreTrainedTokenizerBase) -> NDArray[np.integer[Any]]:
    """(S, W) rows: those with a masculine pronoun tokenized again without their end-of-document tokens, and padded.

    Raises:
        UserError: the tokenizer lacks the token for padding or that for the end of a document.
    """
    known = tokenizer.get_vocab()
    for token in (PADDING, END_OF_DOCUMENT):
        if token not in known:
            raise UserError(f"the tokenizer has no token {token}; take that of GPT-NeoX-20B")
    changed = rows.copy()
    for index, row in enumerate(rows):
        kept = row[row != known[END_OF_DOCUMENT]].tolist()
        text = str(tokenizer.decode(kept, clean_up_tokenization_spaces=False))
        if MASCULINE_BETWEEN_SPACES.search(text):
            ids = tokenizer.encode(text, add_special_tokens=False)[: rows.shape[1]]
            changed[index] = known[PADDING]
            changed[index, : len(ids)] = ids
    return changed
