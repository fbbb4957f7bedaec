"""Whether bytes that are to be read as uint16 tokens can be that: nothing in a bare `.bin` says what it holds."""

import numpy as np
from numpy.typing import NDArray

from corpus.byte_source import LocalFiles
from corpus.file_kinds import find_kind
from foundation import UserError

_CHUNKS = 64
_CHUNK_BYTES = 8192
_LEAST_BYTES = 64
_LARGEST_ID = 1 << 18  # of any vocabulary; of two uint16 tokens that are read as one number the second would be 0 to 3
_WIDE = {
    "int64": ("<i8", ">i8"),
    "int32": ("<i4", ">i4"),
    "float64": ("<f8", ">f8"),
    "float32": ("<f4", ">f4"),
}
_TEXT = np.isin(np.arange(256), [9, 10, 13, *range(32, 127)])
_ALL_TEXT = 0.99  # of tokens about four bytes in ten are printable


def check_files(source: LocalFiles) -> None:
    """Look at the beginning of every file, and at parts of all, before tokens are read from them.

    Raises:
        UserError: a file is empty or of another kind, or its tokens take more than two bytes each.
    """
    for path, size in zip(source.paths, source.sizes, strict=True):
        if size == 0:
            raise UserError(f"{path} is empty; fetch it again")
        kind = find_kind(path)
        if kind is not None:
            raise UserError(f"{path} is {kind.name}, expected nothing but uint16 tokens; {kind.remedy}")
    whole = source.size // _CHUNK_BYTES
    places = np.unique(np.linspace(0, max(whole - 1, 0), _CHUNKS, dtype=np.int64)) * _CHUNK_BYTES
    chunks = [_read(source, int(place), min(_CHUNK_BYTES, source.size - int(place))) for place in places]
    check_bytes(np.concatenate(chunks), location=source.location)


def _read(source: LocalFiles, start: int, length: int) -> NDArray[np.uint8]:
    content = np.empty(length, np.uint8)
    source.read(start, content.data)
    return content


def check_bytes(content: NDArray[np.uint8], *, location: str) -> None:
    """Raise UserError where bytes are wider numbers than uint16, or text.

    Args:
        content: from a place that is a multiple of 8 bytes on.
    """
    if len(content) < _LEAST_BYTES:
        return
    for name, formats in _WIDE.items():
        for code in formats:
            if _are_ids(content[: len(content) // 8 * 8].view(code)):
                raise UserError(
                    f"{location} holds tokens as {name}, expected uint16 as in Pythia's corpora; "
                    f"{converted(np.dtype(code))}"
                )
    if _TEXT[content].mean() >= _ALL_TEXT:
        raise UserError(
            f"{location} holds plain text, expected uint16 tokens; corpus=demo corpus.text=FILE makes a corpus of text"
        )


def _are_ids(numbers: NDArray[np.number]) -> bool:
    """Whether all numbers may be ids, and most are more than 0, as holes are."""
    with np.errstate(invalid="ignore"):
        inside = bool(np.all((numbers >= 0) & (numbers < _LARGEST_ID)))
    return inside and bool(np.all(numbers == np.floor(numbers)) and 2 * np.count_nonzero(numbers) > len(numbers))


def converted(dtype: np.dtype[np.generic]) -> str:
    """What to do with rows of tokens in another format."""
    return (
        f"write them anew, without an .idx: python -c \"import numpy; numpy.memmap('OLD.bin', '{dtype.str}', 'r')"
        f".astype('<u2').tofile('NEW.bin')\""
    )


def check_batch(batch: NDArray[np.uint16], *, first_row: int, location: str) -> None:
    """Raise UserError where rows to train on hold wider numbers than uint16, or one holds nothing but token 0.

    Args:
        batch: rows from row `first_row` on, as they lie in the corpus.
    """
    to_eight = -2 * first_row * batch.shape[1] % 8
    content = batch.reshape(-1)[: _CHUNKS * _CHUNK_BYTES // 2].view(np.uint8)[to_eight:]
    check_bytes(np.ascontiguousarray(content), location=location)
    empty = np.flatnonzero(~batch.any(axis=1))
    if len(empty):
        raise UserError(
            f"{location} holds nothing but token 0 in row {first_row + int(empty[0])} ({len(empty)} of {len(batch)} "
            f"rows that were read): it was not fetched or copied wholly; fetch it again, python -m corpus.verify tells "
            f"whether it is as published"
        )
