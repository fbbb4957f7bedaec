"""GPT-NeoX's order of training rows: documents shuffled, joined, cut into overlapping windows, windows shuffled.

After gpt-neox v1.0 `megatron/data/gpt2_dataset.py` and `helpers.cpp`. One generator, NumPy's legacy `RandomState`,
makes both shuffles, the documents' first. A window holds `seq_length + 1` tokens and begins where its predecessor ends:
the two share one token, which is the label of the one and the first input of the other.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from corpus.indexed_dataset import IndexedDataset


@dataclass(frozen=True)
class SampleOrder:
    """The three index maps of GPT-NeoX.

    Attributes:
        documents: (epochs * D,) document ids in the order in which they are joined.
        windows: (N + 1, 2) for each window the entry of `documents` it begins in, and the token offset there.
        shuffle: (N,) the window that is the i-th row of training.
        seq_length: tokens predicted per row.
    """

    documents: NDArray[np.int32]
    windows: NDArray[np.int32]
    shuffle: NDArray[np.uint32]
    seq_length: int

    def row(self, dataset: IndexedDataset, i: int) -> NDArray[np.generic]:
        """Row i of training: `seq_length + 1` tokens."""
        window = self.shuffle[i]
        (first, offset), last = self.windows[window], self.windows[window + 1, 0]
        documents = [dataset[document] for document in self.documents[first : last + 1]]
        return np.concatenate(documents)[offset : offset + self.seq_length + 1]


def sample_order(sizes: NDArray[np.int32], *, num_samples: int, seq_length: int, seed: int) -> SampleOrder:
    """Build the index maps for documents of the given sizes.

    Args:
        sizes: (D,) tokens of each document, end-of-document token included.
        num_samples: rows that training needs; as many whole epochs are laid end to end and shuffled *jointly*.
        seq_length: tokens predicted per row.
        seed: 1234 for Pythia.
    """
    tokens_per_epoch = int(sizes.sum(dtype=np.int64))
    epochs = -(-(num_samples * seq_length + 1) // tokens_per_epoch)
    rng = np.random.RandomState(seed)
    documents = np.tile(np.arange(len(sizes), dtype=np.int32), epochs)
    rng.shuffle(documents)
    windows = _windows(sizes[documents], num_windows=(epochs * tokens_per_epoch - 1) // seq_length, stride=seq_length)
    shuffle = np.arange(len(windows) - 1, dtype=np.uint32)
    rng.shuffle(shuffle)
    return SampleOrder(documents, windows, shuffle, seq_length)


def _windows(sizes: NDArray[np.int32], *, num_windows: int, stride: int) -> NDArray[np.int32]:
    """(num_windows + 1, 2) entry and offset of every stride-th token of the joined documents."""
    ends = np.cumsum(sizes, dtype=np.int64)
    starts = np.arange(num_windows + 1, dtype=np.int64) * stride
    entries = np.searchsorted(ends, starts, side="right")
    offsets = starts - (ends[entries] - sizes[entries])
    return np.stack([entries, offsets], axis=1).astype(np.int32)
