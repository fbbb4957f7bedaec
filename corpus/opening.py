"""Open a corpus of preshuffled rows, wherever it lies."""

from pathlib import Path

import numpy as np

from corpus.byte_source import ByteSource, LocalFiles, local_files, stem_of
from corpus.indexed_dataset import check_against, read_index
from corpus.inspection import check_files, converted
from corpus.remote import BlockStore, RemoteFiles, is_remote, remote_place
from corpus.rows import PYTHIA_ROW_TOKENS, Preshuffled
from foundation import UserError, cache_directory
from foundation.hub import is_repository_name

CACHE_GIB = 64


def open_corpus(
    location: str | Path,
    *,
    row_tokens: int = PYTHIA_ROW_TOKENS,
    num_rows: int | None = None,
    revision: str | None = None,
    cache_gib: int = CACHE_GIB,
) -> Preshuffled:
    """Open rows that lie one behind the other in training order, in a merged `.bin` or in shards, here or elsewhere.

    Args:
        location: a `.bin`, a directory or prefix of shards (document-00000-of-00020.bin, ...), each read in place;
            hf://datasets/OWNER/NAME[@REVISION][/PATH]; or http(s)://... of a `.bin`, of a shard, or of the directory in
            which shards lie under the names that Pythia's have. Of what is remote only the blocks that are read are
            fetched, and kept.
        row_tokens: tokens per row; 2049 for Pythia (2048 predictions).
        num_rows: rows that there must be; None takes what is there. Where it is known, a remote corpus is not asked for
            anything before its rows are read or announced.
        revision: of a hub repository: branch, tag or commit.
        cache_gib: the most that the blocks of all remote corpora together may take on disk.

    Raises:
        UserError: nothing is there, or a shard is missing; the bytes are no uint16 tokens, no whole number of rows, or
            not `num_rows`; or an `.idx` beside them contradicts them.
    """
    if row_tokens < 2:
        raise UserError(
            f"corpus.row_tokens={row_tokens}, but a row holds a token and the one that follows it; set 2 or more"
        )
    row_bytes = 2 * row_tokens
    source: ByteSource
    if is_remote(str(location)):
        source = RemoteFiles(
            remote_place(str(location), revision=revision),
            BlockStore(cache_directory() / "remote" / "blocks", max_bytes=cache_gib << 30),
            size=None if num_rows is None else num_rows * row_bytes,
        )
    else:
        if revision is not None:
            raise UserError(
                f"corpus.revision={revision}, but {location} is a path, which has no revisions; leave it out"
            )
        source = _files_here(str(location))
        _check_index(source, row_tokens)
        check_files(source)
    size = source.size
    if size == 0 or size % row_bytes:
        raise UserError(
            f"{location} has {size} bytes, no whole number of rows of {row_tokens} uint16 tokens ({row_bytes} bytes); "
            f"fetch it again if it is cut short, else set corpus.row_tokens (a row is one token longer than what the "
            f"model reads)"
        )
    if num_rows is not None and size != num_rows * row_bytes:
        raise UserError(
            f"{location} holds {size // row_bytes} rows of {row_tokens} tokens, expected {num_rows}: it is another "
            f"corpus, or not all of it; name that corpus, or leave corpus.num_rows out"
        )
    return Preshuffled(source, size // row_bytes, row_tokens)


def _files_here(location: str) -> LocalFiles:
    """The files at a path."""
    try:
        return local_files(location)
    except UserError as error:
        if Path(location).exists() or not is_repository_name(location):
            raise
        remedy = f"the hub's dataset of that name is corpus.location=hf://datasets/{location}"
        raise UserError(f"{error}; {remedy}") from None


def _check_index(source: LocalFiles, row_tokens: int) -> None:
    """Hold an `.idx` beside the files against them; without one the rows are what the files hold."""
    first = source.paths[0]
    path = first.with_name(f"{stem_of(first.name)}.idx")
    if not path.is_file():
        return
    index = read_index(path)
    if index.dtype != np.uint16:
        raise UserError(f"{path} says that tokens are {index.dtype}, expected uint16; {converted(index.dtype)}")
    check_against(index, source)
    sizes = np.unique(index.sizes[:: max(1, len(index) // 256)])
    if len(index) * row_tokens * 2 != source.size or np.any(sizes != row_tokens):
        remedy = f"set corpus.row_tokens={sizes[0]}" if len(sizes) == 1 else "name a corpus of rows in training order"
        raise UserError(
            f"{path} holds {len(index)} sequences of {sizes[0]} to {sizes[-1]} tokens, together {source.size // 2}, "
            f"expected rows of {row_tokens} each; {remedy}"
        )
