"""Tokenizers that read the rows of a corpus."""

from pathlib import Path

from transformers import AutoTokenizer, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from corpus.documents import END_OF_DOCUMENT
from corpus.view import Decode
from foundation import UserError
from foundation.hub import fetch_tokenizer

PYTHIA_TOKENIZER = "EleutherAI/pythia-70m-deduped"


def open_tokenizer(place: str) -> PreTrainedTokenizerBase:
    """Open a tokenizer of GPT-NeoX's kind.

    Args:
        place: a tokenizer.json, a directory, or a name on the hub.

    Raises:
        UserError: there is none, it cannot be read, or it has no end-of-document token.
    """
    remedy = "set tokenizer=FILE to a tokenizer.json, or to the directory of a checkpoint"
    path = Path(place) if Path(place).exists() else fetch_tokenizer(place, remedy=remedy)
    try:
        tokenizer: PreTrainedTokenizerBase = (
            PreTrainedTokenizerFast(tokenizer_file=str(path))
            if path.is_file()
            else AutoTokenizer.from_pretrained(path, trust_remote_code=False)
        )
    except Exception as error:  # the tokenizers library raises nothing narrower for a bad file
        reason = (str(error).splitlines() or [type(error).__name__])[0]  # the next advise to trust code that it carries
        raise UserError(
            f"tokenizer={place} cannot be read ({reason}); name a tokenizer.json of GPT-NeoX's kind"
        ) from error
    if END_OF_DOCUMENT not in tokenizer.get_vocab():
        raise UserError(f"tokenizer={place} has no token {END_OF_DOCUMENT}; name a tokenizer of GPT-NeoX's kind")
    return tokenizer


def decoder(tokenizer: PreTrainedTokenizerBase) -> Decode:
    """Ids to text as it stands, without the tidying that some tokenizers do."""
    return lambda ids: str(tokenizer.decode(ids, clean_up_tokenization_spaces=False))
