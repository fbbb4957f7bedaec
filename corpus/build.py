"""A small corpus in Pythia's formats, made from plain text: tokenizer, documents, and rows in GPT-NeoX's order."""

import hashlib
import itertools
import json
import logging
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import tokenizers
from numpy.typing import NDArray
from tokenizers import Encoding, Tokenizer, decoders, models, pre_tokenizers, trainers
from tqdm import tqdm

from corpus.documents import END_OF_DOCUMENT, read_documents
from corpus.index_mapped import IndexMapped
from corpus.indexed_dataset import read_indexed_dataset, write_indexed_dataset
from corpus.opening import open_corpus
from corpus.rows import Preshuffled
from corpus.sample_order import sample_order
from foundation import (
    SOURCES,
    UserError,
    atomic_directory,
    cache_directory,
    exclusive,
    fetch,
    hash_of_source,
    sha256_of_file,
    write_text,
)

log = logging.getLogger(__name__)

BUG = "bug"

_DOCUMENTS_AT_ONCE = 4096
_EMPHASIS = 3
_HASHED = ("rows.bin", "tokenizer.json")  # what is read when it has been built
_BYTE_TOKENS = 257  # every byte and the end-of-document token
_UINT16_TOKENS = 65536


@dataclass(frozen=True)
class _Plan:
    """Everything that the built bytes depend on."""

    text_sha256: str
    vocab_size: int
    row_tokens: int
    seed: int
    code: str  # SHA-256 of what builds it
    tokenizers_version: str = tokenizers.__version__
    layout: int = 2

    @property
    def identity(self) -> str:
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()


def build_corpus(text: str, *, vocab_size: int, row_tokens: int, seed: int) -> Preshuffled:
    """Open the corpus made from `text`, building it first where the cache does not hold it.

    The build is one epoch: byte-level BPE trained on the documents, each document followed by the end-of-document
    token, then GPT-NeoX's sample order, written as preshuffled rows. Two processes may start together; one builds.

    Args:
        text: "bug" for the sentences of the BUG corpus (Levy et al. 2021), or the path of a text file in UTF-8 that
            holds one document a line, or JSON lines with a "text" each.
        vocab_size: of the tokenizer, end-of-document token (id 0) included.
        row_tokens: tokens per row, one more than are predicted.
        seed: of GPT-NeoX's shuffles.

    Raises:
        UserError: the text is not there, cannot be fetched, is not UTF-8 or does not fill one row; or a size is out of
            range.
    """
    if not _BYTE_TOKENS <= vocab_size <= _UINT16_TOKENS:
        raise UserError(f"corpus.vocab_size={vocab_size} must lie between {_BYTE_TOKENS} and {_UINT16_TOKENS}")
    if row_tokens < 2:
        raise UserError(
            f"corpus.row_tokens={row_tokens}, but a row holds a token and the one that follows it; set 2 or more"
        )
    if not 0 <= seed < 2**32:
        raise UserError(f"corpus.seed={seed} must lie between 0 and {2**32 - 1}, as GPT-NeoX's shuffles take it")
    plan = _Plan(_text_sha256(text), vocab_size, row_tokens, seed, hash_of_source("corpus.build", "corpus"))
    directory = cache_directory() / "corpora" / plan.identity[:16]
    if not directory.exists():
        with exclusive(directory.with_suffix(".lock"), wait=True):
            if not directory.exists():
                with atomic_directory(directory) as aside:
                    _build(aside, _read_documents(text), plan, emphasised=_professions_named() if text == BUG else ())
    for name in _HASHED:
        if not _is_as_built(directory / name):
            raise UserError(
                f"{directory / name} is not what was built there; remove {directory}, and it is built again"
            )
    corpus = open_corpus(directory / "rows.bin", row_tokens=row_tokens)
    sha256 = _hash_of(directory / "rows.bin").read_text()
    return replace(corpus, tokenizer=directory / "tokenizer.json", sha256=sha256, layouts=1)


def _is_as_built(path: Path) -> bool:
    if not (path.is_file() and _hash_of(path).is_file()):
        return False
    return sha256_of_file(path) == _hash_of(path).read_text(errors="replace")


def _hash_of(path: Path) -> Path:
    """The file that holds the SHA-256 of another one."""
    return path.with_suffix(".sha256")


def _text_sha256(text: str) -> str:
    if text == BUG:
        return SOURCES[BUG].sha256
    if not Path(text).is_file():
        raise UserError(f"corpus.text={text} is neither {BUG!r} nor the path of a text file with one document a line")
    return sha256_of_file(Path(text))


def _read_documents(text: str) -> list[str]:
    if text == BUG:
        sentences = pd.read_csv(fetch(BUG), usecols=["sentence_text"])["sentence_text"]
        return list(dict.fromkeys(sentences))
    return read_documents(Path(text))


def bug_professions() -> list[str]:
    """The professions that BUG annotates, in lower case."""
    return sorted(set(_professions_named()))


def _professions_named() -> list[str]:
    """The profession of every sentence of BUG, in lower case."""
    return list(pd.read_csv(fetch(BUG), usecols=["profession"])["profession"].str.lower())


def _build(directory: Path, documents: Sequence[str], plan: _Plan, *, emphasised: Sequence[str]) -> None:
    log.info("building the corpus: %d documents, %d tokens of vocabulary", len(documents), plan.vocab_size)
    tokenizer = _train_tokenizer(documents, emphasised, vocab_size=plan.vocab_size)
    write_text(directory / "tokenizer.json", tokenizer.to_str(pretty=True))  # `save` raises no OSError on a full disk
    end_of_document = tokenizer.token_to_id(END_OF_DOCUMENT)
    encoded = (np.array([*encoding.ids, end_of_document], np.uint16) for encoding in _encode(tokenizer, documents))
    write_indexed_dataset(directory / "documents", encoded, dtype=np.uint16)
    write_indexed_dataset(directory / "rows", _rows_in_training_order(directory, plan), dtype=np.uint16)
    for name in _HASHED:
        write_text(_hash_of(directory / name), sha256_of_file(directory / name))
    write_text(directory / "plan.json", json.dumps(asdict(plan), indent=2))


def _encode(tokenizer: Tokenizer, documents: Sequence[str]) -> Iterator[Encoding]:
    bar = tqdm(total=len(documents), desc="tokenising", unit="document", unit_scale=True, disable=None)
    with bar:
        for start in range(0, len(documents), _DOCUMENTS_AT_ONCE):
            encodings = tokenizer.encode_batch(list(documents[start : start + _DOCUMENTS_AT_ONCE]))
            yield from encodings
            bar.update(len(encodings))


def _rows_in_training_order(directory: Path, plan: _Plan) -> NDArray[np.uint16]:
    dataset = read_indexed_dataset(directory / "documents")
    seq_length = plan.row_tokens - 1
    one_epoch = (dataset.num_tokens - 1) // seq_length
    if one_epoch == 0:
        raise UserError(
            f"the text has {dataset.num_tokens} tokens, too few for one row of {plan.row_tokens}; take a longer one"
        )
    sizes = np.asarray(dataset.index.sizes)
    order = sample_order(sizes, num_samples=one_epoch, seq_length=seq_length, seed=plan.seed)
    return IndexMapped(dataset, order, f"seed {plan.seed}").rows(0, one_epoch)


def _train_tokenizer(documents: Sequence[str], emphasised: Sequence[str], *, vocab_size: int) -> Tokenizer:
    """Byte-level BPE of the kind that Pythia's tokenizer is, without its runs of spaces.

    Each of the words in `emphasised` counts `_EMPHASIS` times more than the documents name it, so that the words that
    a benchmark asks for become tokens in a small vocabulary, as they are in a large one.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[END_OF_DOCUMENT],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=sys.stderr.isatty(),
    )
    words = ("".join(f" {word}" for word in emphasised) for _ in range(_EMPHASIS))
    tokenizer.train_from_iterator(itertools.chain(documents, words), trainer)
    return tokenizer
