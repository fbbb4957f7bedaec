"""The fixed data order as rows of tokens: row r is the r-th sequence that training sees."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from corpus.byte_source import ByteSource, Cost
from foundation import UserError

PYTHIA_ROW_TOKENS = 2049  # 2048 inputs and as many labels, shifted by one


class Corpus(Protocol):
    """Rows of tokens in the order of training, wherever they lie.

    Attributes:
        location: where that is, in the user's words.
        num_rows: rows in all.
        row_tokens: tokens in each, one more than are predicted.
        tokenizer: the tokenizer.json that made the rows, where the kit built them; Pythia's comes with a checkpoint.
        sha256: of all the rows' bytes, where the kit built them.
        layouts: times that each document was laid out before all were shuffled, so that a row's text may stand in
            another row too; None where it is not known.
    """

    @property
    def location(self) -> str: ...

    @property
    def num_rows(self) -> int: ...

    @property
    def row_tokens(self) -> int: ...

    @property
    def tokenizer(self) -> Path | None: ...

    @property
    def sha256(self) -> str | None: ...

    @property
    def layouts(self) -> int | None: ...

    def rows(self, start: int, stop: int) -> NDArray[np.uint16]:
        """Rows [start, stop), `stop` not included, as an array (stop - start, row_tokens) of its own.

        Raises:
            UserError: the corpus does not hold them all, or they cannot be fetched.
        """
        ...

    def expect(self, start: int, stop: int) -> None:
        """Announce that rows [start, stop) will be read, in order: what is far away is fetched ahead of reading."""
        ...

    def cost(self, start: int, stop: int) -> Cost:
        """What reading rows [start, stop) takes now. Fetches nothing."""
        ...

    def identity(self) -> dict[str, Any]:
        """What tells this corpus from others, for run.json."""
        ...


@dataclass(frozen=True)
class Preshuffled:
    """Rows that lie one behind the other, as the preshuffled Pythia corpora publish them: no index is needed.

    Attributes:
        source: the bytes: uint16, little endian.
    """

    source: ByteSource
    num_rows: int
    row_tokens: int
    tokenizer: Path | None = None
    sha256: str | None = None
    layouts: int | None = None

    @property
    def location(self) -> str:
        return self.source.location

    def rows(self, start: int, stop: int) -> NDArray[np.uint16]:
        check_rows(self, start, stop)
        table = np.empty((stop - start, self.row_tokens), "<u2")
        self.source.read(start * self._row_bytes, table.reshape(-1).view(np.uint8).data)
        return table.astype(np.uint16, copy=False)

    def expect(self, start: int, stop: int) -> None:
        check_rows(self, start, stop)
        self.source.expect(start * self._row_bytes, stop * self._row_bytes)

    def cost(self, start: int, stop: int) -> Cost:
        check_rows(self, start, stop)
        return self.source.cost(start * self._row_bytes, stop * self._row_bytes)

    def identity(self) -> dict[str, Any]:
        return {
            **self.source.identity(),
            "rows": self.num_rows,
            "row_tokens": self.row_tokens,
            "sha256": self.sha256,
        }

    @property
    def _row_bytes(self) -> int:
        return 2 * self.row_tokens


def check_rows(corpus: Corpus, start: int, stop: int) -> None:
    """Raise UserError where a corpus does not hold rows [start, stop)."""
    if not 0 <= start <= stop <= corpus.num_rows:
        raise UserError(
            f"rows [{start}, {stop}) are asked for, but {corpus.location} holds rows [0, {corpus.num_rows}) of "
            f"{corpus.row_tokens} tokens; take rows among them"
        )
