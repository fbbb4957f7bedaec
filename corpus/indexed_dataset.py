"""Megatron's memory-mapped dataset: `prefix.bin` holds token ids, `prefix.idx` says where each sequence lies.

Layout of the index (little endian, unaligned), after gpt-neox v1.0 `megatron/data/indexed_dataset.py`:
magic (9 bytes), version (u64), dtype code (u8), number of sequences n (u64), length of the document index d (u64),
sizes (int32[n], tokens), pointers (int64[n], bytes), document index (int64[d], the sequence each document starts at).
"""

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from foundation import UserError

_MAGIC = b"MMIDIDX\x00\x00"
_VERSION = 1
_HEADER = struct.Struct("<9sQBQQ")
_DTYPES = {1: np.uint8, 2: np.int8, 3: np.int16, 4: np.int32, 5: np.int64, 6: np.float32, 7: np.float64, 8: np.uint16}
_CODES = {np.dtype(dtype): code for code, dtype in _DTYPES.items()}


@dataclass(frozen=True)
class IndexedDataset:
    """Sequences of tokens in one file.

    Attributes:
        tokens: all token ids, one after another, mapped from the `.bin`.
        sizes: (n,) tokens in each sequence.
        pointers: (n,) offset of each sequence in the `.bin`, in bytes.
        document_index: the sequence at which each document starts; the last entry is n.
    """

    tokens: NDArray[np.generic]
    sizes: NDArray[np.int32]
    pointers: NDArray[np.int64]
    document_index: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.sizes)

    def __getitem__(self, sequence: int) -> NDArray[np.generic]:
        start = int(self.pointers[sequence]) // self.tokens.itemsize
        return self.tokens[start : start + int(self.sizes[sequence])]


def read_indexed_dataset(prefix: Path) -> IndexedDataset:
    """Map `prefix.bin` and `prefix.idx`.

    Raises:
        UserError: the index is not Megatron's, or it speaks of more or fewer bytes than the `.bin` holds.
    """
    index_path, tokens_path = prefix.with_suffix(".idx"), prefix.with_suffix(".bin")
    with index_path.open("rb") as file:
        header = file.read(_HEADER.size)
    if len(header) < _HEADER.size or header[: len(_MAGIC)] != _MAGIC:
        raise UserError(f"{index_path} is no Megatron index (it begins with {header[:9]!r}, expected {_MAGIC!r})")
    _, version, code, n, d = _HEADER.unpack(header)
    if version != _VERSION or code not in _DTYPES:
        raise UserError(f"{index_path} has version {version} and dtype code {code}; known are version 1, codes 1 to 8")
    index_bytes = _HEADER.size + 12 * n + 8 * d
    if index_path.stat().st_size != index_bytes:
        raise UserError(
            f"{index_path} has {index_path.stat().st_size} bytes, its header speaks of {index_bytes}; fetch it again"
        )
    sizes = np.memmap(index_path, np.int32, "r", _HEADER.size, n)
    pointers = np.memmap(index_path, np.int64, "r", _HEADER.size + 4 * n, n)
    document_index = np.memmap(index_path, np.int64, "r", _HEADER.size + 12 * n, d)
    dtype = np.dtype(_DTYPES[code])
    # sizes are int32, and their sum passes 2^31 in any real corpus
    expected_bytes = int(sizes.sum(dtype=np.int64)) * dtype.itemsize
    if tokens_path.stat().st_size != expected_bytes:
        raise UserError(
            f"{tokens_path} has {tokens_path.stat().st_size} bytes, but {index_path.name} speaks of {expected_bytes}; "
            f"they do not belong together, or one is cut short"
        )
    return IndexedDataset(np.memmap(tokens_path, dtype, "r"), sizes, pointers, document_index)


def write_indexed_dataset(prefix: Path, sequences: Iterable[NDArray[np.generic]], *, dtype: type[np.generic]) -> None:
    """Write `prefix.bin` and `prefix.idx`; every sequence is a document of its own.

    Args:
        sequences: 1-D arrays of token ids.
        dtype: of the `.bin`; GPT-NeoX takes uint16 below 65,500 tokens of vocabulary.
    """
    sizes = []
    with prefix.with_suffix(".bin").open("wb") as file:
        for sequence in sequences:
            file.write(np.ascontiguousarray(sequence, dtype).tobytes())
            sizes.append(len(sequence))
    size_array = np.asarray(sizes, np.int32)
    ends = np.cumsum(size_array, dtype=np.int64) * np.dtype(dtype).itemsize
    pointers = np.concatenate([np.zeros(1, np.int64), ends])[: len(sizes)]
    with prefix.with_suffix(".idx").open("wb") as file:
        file.write(_HEADER.pack(_MAGIC, _VERSION, _CODES[np.dtype(dtype)], len(sizes), len(sizes) + 1))
        file.write(size_array.tobytes())
        file.write(pointers.tobytes())
        file.write(np.arange(len(sizes) + 1, dtype=np.int64).tobytes())
