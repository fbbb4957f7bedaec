"""The fixed data order as rows of tokens: row r is the r-th sequence that training sees."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from corpus.indexed_dataset import read_indexed_dataset
from foundation import UserError


@dataclass(frozen=True)
class Corpus:
    """Rows in training order, as the preshuffled Pythia corpora publish them.

    Attributes:
        path: of the `.bin`.
        table: (num_rows, row_tokens) uint16, mapped from the file.
        tokenizer: the tokenizer.json that made the rows, where the kit built them; Pythia's comes with a checkpoint.
    """

    path: Path
    table: NDArray[np.uint16]
    tokenizer: Path | None = None

    @property
    def num_rows(self) -> int:
        return int(self.table.shape[0])

    @property
    def row_tokens(self) -> int:
        return int(self.table.shape[1])

    def rows(self, start: int, stop: int) -> NDArray[np.uint16]:
        """Rows [start, stop), as an array (stop - start, row_tokens) of its own.

        Raises:
            UserError: the corpus does not hold them all.
        """
        if not 0 <= start <= stop <= self.num_rows:
            raise UserError(
                f"rows {start}..{stop} are asked for, but {self.path} holds {self.num_rows} rows of {self.row_tokens} "
                f"tokens; take an earlier step, fewer steps or another corpus"
            )
        return np.array(self.table[start:stop])


def open_corpus(path: str | Path, *, row_tokens: int = 2049, tokenizer: Path | None = None) -> Corpus:
    """Open a merged, preshuffled `.bin`, with or without its `.idx`.

    Args:
        path: the `.bin` file.
        row_tokens: tokens per row; 2049 for Pythia (2048 predictions).

    Raises:
        UserError: there is no such file, its size is not a whole number of rows, or its index contradicts it.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"there is no corpus file {path}; name the merged .bin of preshuffled rows")
    if path.with_suffix(".idx").exists():
        dataset = read_indexed_dataset(path.with_suffix(""))
        if dataset.tokens.dtype != np.uint16:
            raise UserError(f"{path.with_suffix('.idx')} says that tokens are {dataset.tokens.dtype}, expected uint16")
        sizes = dataset.sizes
        if not np.all(sizes == row_tokens):
            raise UserError(
                f"{path.with_suffix('.idx')} holds sequences of {sizes.min()} to {sizes.max()} tokens, expected rows "
                f"of {row_tokens} each; this is not a preshuffled corpus, or row_tokens is wrong"
            )
    size = path.stat().st_size
    if size == 0 or size % (2 * row_tokens):
        raise UserError(
            f"{path} has {size} bytes, no whole number of rows of {row_tokens} uint16 tokens ({2 * row_tokens} bytes); "
            f"it is cut short, or row_tokens is wrong"
        )
    table = np.memmap(path, np.uint16, "r").reshape(-1, row_tokens)
    return Corpus(path, table, tokenizer)
