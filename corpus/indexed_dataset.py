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

from corpus.byte_source import LocalFiles, local_files
from foundation import UserError

_MAGIC = b"MMIDIDX\x00\x00"
_LAZY_MAGIC = b"TNTIDX"  # of fairseq's format, which Megatron also writes
_VERSION = 1
_HEADER = struct.Struct("<9sQBQQ")
_DTYPES = {1: np.uint8, 2: np.int8, 3: np.int16, 4: np.int32, 5: np.int64, 6: np.float32, 7: np.float64, 8: np.uint16}
_CODES = {np.dtype(dtype): code for code, dtype in _DTYPES.items()}
_AT_ONCE = 1 << 22  # sequences; an index of the Pile has 10^8


@dataclass(frozen=True)
class Index:
    """What an `.idx` says.

    Attributes:
        dtype: of the tokens.
        sizes: (n,) tokens in each sequence.
        pointers: (n,) offset of each sequence in the `.bin`, in bytes.
        document_index: the sequence at which each document starts; the last entry is n.
    """

    path: Path
    dtype: np.dtype[np.generic]
    sizes: NDArray[np.int32]
    pointers: NDArray[np.int64]
    document_index: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.sizes)

    @property
    def num_bytes(self) -> int:
        """Bytes of the `.bin`."""
        if not len(self):
            return 0
        return int(self.pointers[-1]) + int(self.sizes[-1]) * self.dtype.itemsize


@dataclass(frozen=True)
class IndexedDataset:
    """Sequences of tokens in one `.bin`, whole or in shards, and the index that tells them apart."""

    source: LocalFiles
    index: Index

    def __len__(self) -> int:
        return len(self.index)

    @property
    def num_tokens(self) -> int:
        return self.source.size // self.index.dtype.itemsize

    def __getitem__(self, sequence: int) -> NDArray[np.generic]:
        return self.tokens(sequence, 0, int(self.index.sizes[sequence]))

    def tokens(self, sequence: int, start: int, stop: int) -> NDArray[np.generic]:
        """Tokens [start, stop) of a sequence."""
        tokens = np.empty(stop - start, self.index.dtype)
        self.source.read(int(self.index.pointers[sequence]) + start * tokens.itemsize, tokens.view(np.uint8).data)
        return tokens


def read_index(path: Path) -> Index:
    """Map an `.idx`.

    Raises:
        UserError: it is not Megatron's, is cut short, or contradicts itself.
    """
    with path.open("rb") as file:
        header = file.read(_HEADER.size)
    if header.startswith(_LAZY_MAGIC):
        raise UserError(
            f"{path} was made with --dataset-impl lazy or cached, which Pythia's data are not; preprocess the text "
            f"again with GPT-NeoX's tools/datasets/preprocess_data.py --dataset-impl mmap"
        )
    if len(header) < _HEADER.size or header[: len(_MAGIC)] != _MAGIC:
        raise UserError(
            f"{path} is no Megatron index (it begins with {header[:9]!r}, expected {_MAGIC!r}); fetch it again"
        )
    _, version, code, n, d = _HEADER.unpack(header)
    if version != _VERSION or code not in _DTYPES:
        raise UserError(
            f"{path} has version {version} and dtype code {code}, known are version 1, codes 1 to 8; it is damaged, or "
            f"another Megatron's: fetch it again, or preprocess the text with GPT-NeoX v1.0 (--dataset-impl mmap)"
        )
    index_bytes = _HEADER.size + 12 * n + 8 * d
    if path.stat().st_size != index_bytes:
        raise UserError(f"{path} has {path.stat().st_size} bytes, its header speaks of {index_bytes}; fetch it again")
    sizes = np.memmap(path, "<i4", "r", _HEADER.size, n) if n else np.empty(0, np.int32)
    pointers = np.memmap(path, "<i8", "r", _HEADER.size + 4 * n, n) if n else np.empty(0, np.int64)
    document_index = np.memmap(path, "<i8", "r", _HEADER.size + 12 * n, d) if d else np.empty(0, np.int64)
    index = Index(path, np.dtype(_DTYPES[code]), sizes, pointers, document_index)
    _check_pointers(index)
    return index


def _check_pointers(index: Index) -> None:
    """Hold every size against the distance of its two pointers. Reads them whole."""
    if len(index) and index.pointers[0] != 0:
        raise UserError(f"{index.path} puts its first sequence at byte {index.pointers[0]}, expected 0; fetch it again")
    if len(index) and index.sizes[-1] < 0:
        raise UserError(f"{index.path} says that its last sequence has {index.sizes[-1]} tokens; fetch it again")
    for first in range(0, len(index) - 1, _AT_ONCE):
        steps = np.diff(index.pointers[first : first + _AT_ONCE + 1])
        expected = index.sizes[first : first + len(steps)].astype(np.int64) * index.dtype.itemsize
        wrong = np.flatnonzero((steps != expected) | (expected < 0))
        if len(wrong):
            place = int(wrong[0])
            raise UserError(
                f"{index.path} says that sequence {first + place} takes {expected[place]} bytes, but the next begins "
                f"{steps[place]} bytes behind it; the index contradicts itself: fetch it again"
            )


def read_indexed_dataset(prefix: Path) -> IndexedDataset:
    """Open `prefix.idx` and `prefix.bin`, or the shards prefix-00000-of-000NN.bin.

    Raises:
        UserError: the index is not Megatron's, or it speaks of more or fewer bytes than the `.bin` holds.
    """
    index_path = prefix.with_name(f"{prefix.name}.idx")
    if not index_path.is_file():
        raise UserError(f"there is no index {index_path}; name the path of the .bin and .idx without their ending")
    source, index = local_files(prefix), read_index(index_path)
    check_against(index, source)
    return IndexedDataset(source, index)


def check_against(index: Index, source: LocalFiles) -> None:
    """Raise UserError where an index speaks of more or fewer bytes than are there."""
    if source.size != index.num_bytes:
        raise UserError(
            f"{source.location} has {source.size} bytes, but {index.path.name} speaks of {index.num_bytes}; they do "
            f"not belong together, or one is cut short: fetch both again"
        )


def write_indexed_dataset(prefix: Path, sequences: Iterable[NDArray[np.generic]], *, dtype: type[np.generic]) -> None:
    """Write `prefix.bin` and `prefix.idx`; every sequence is a document of its own.

    Args:
        sequences: 1-D arrays of token ids.
        dtype: of the `.bin`; GPT-NeoX takes uint16 below 65,500 tokens of vocabulary.
    """
    sizes = []
    with prefix.with_name(f"{prefix.name}.bin").open("wb") as file:
        for sequence in sequences:
            file.write(np.ascontiguousarray(sequence, dtype).tobytes())
            sizes.append(len(sequence))
    size_array = np.asarray(sizes, np.int32)
    ends = np.cumsum(size_array, dtype=np.int64) * np.dtype(dtype).itemsize
    pointers = np.concatenate([np.zeros(1, np.int64), ends])[: len(sizes)]
    with prefix.with_name(f"{prefix.name}.idx").open("wb") as file:
        file.write(_HEADER.pack(_MAGIC, _VERSION, _CODES[np.dtype(dtype)], len(sizes), len(sizes) + 1))
        file.write(size_array.tobytes())
        file.write(pointers.tobytes())
        file.write(np.arange(len(sizes) + 1, dtype=np.int64).tobytes())
