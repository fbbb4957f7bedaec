import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpus.indexed_dataset import read_indexed_dataset, write_indexed_dataset
from corpus.sample_order import sample_order


def published_algorithm(sizes, num_samples, seq_length, seed):
    """GPT-NeoX's `gpt2_dataset.py` and `helpers.cpp`, walked token by token as they walk."""
    tokens_per_epoch = int(np.sum(sizes))
    num_epochs = 0
    while True:
        num_epochs += 1
        if (num_epochs * tokens_per_epoch - 1) // seq_length >= num_samples:
            break
    rng = np.random.RandomState(seed)
    doc_idx = np.mgrid[0:num_epochs, 0 : len(sizes)][1].reshape(-1).astype(np.int32)
    rng.shuffle(doc_idx)
    total = (num_epochs * tokens_per_epoch - 1) // seq_length
    sample_idx = [(0, 0)]
    index, offset = 0, 0
    for _ in range(total):
        remaining = seq_length + 1
        while remaining != 0:
            doc_length = sizes[doc_idx[index]] - offset
            remaining -= doc_length
            if remaining <= 0:
                offset += remaining + doc_length - 1
                remaining = 0
            else:
                index += 1
                offset = 0
        sample_idx.append((index, offset))
    shuffle_idx = np.arange(total, dtype=np.uint32)
    rng.shuffle(shuffle_idx)
    return doc_idx, np.array(sample_idx), shuffle_idx


@given(
    st.lists(st.integers(1, 12), min_size=2, max_size=30).filter(lambda sizes: sum(sizes) > 9),
    st.integers(1, 60),
    st.integers(1, 8),
    st.integers(0, 2**31),
)
def test_the_index_maps_are_those_of_the_published_algorithm(sizes, num_samples, seq_length, seed):
    order = sample_order(np.array(sizes, np.int32), num_samples=num_samples, seq_length=seq_length, seed=seed)
    documents, windows, shuffle = published_algorithm(sizes, num_samples, seq_length, seed)
    np.testing.assert_array_equal(order.documents, documents)
    np.testing.assert_array_equal(order.windows, windows)
    np.testing.assert_array_equal(order.shuffle, shuffle)
    assert (order.documents.dtype, order.windows.dtype, order.shuffle.dtype) == (np.int32, np.int32, np.uint32)


@pytest.fixture
def dataset(tmp_path):
    """Twenty documents whose tokens count on from 0, so that a token tells where it stood."""
    sizes = np.random.default_rng(0).integers(1, 9, 20)
    tokens = np.split(np.arange(sizes.sum()), np.cumsum(sizes)[:-1])
    write_indexed_dataset(tmp_path / "toy", tokens, dtype=np.uint16)
    return read_indexed_dataset(tmp_path / "toy")


def test_unshuffled_windows_overlap_in_one_token_and_follow_the_shuffled_documents(dataset):
    order = sample_order(np.asarray(dataset.sizes), num_samples=5, seq_length=6, seed=1234)
    joined = np.concatenate([dataset[document] for document in order.documents])
    position = {window: row for row, window in enumerate(order.shuffle)}
    for window in range(len(order.shuffle)):
        np.testing.assert_array_equal(order.row(dataset, position[window]), joined[6 * window : 6 * window + 7])


def test_two_epochs_are_shuffled_as_one(dataset):
    one_epoch = (len(dataset.tokens) - 1) // 6
    order = sample_order(np.asarray(dataset.sizes), num_samples=one_epoch + 1, seq_length=6, seed=1234)
    assert sorted(order.documents) == sorted([*range(20), *range(20)])
    assert set(order.documents[:20]) != set(range(20)), "the second epoch reaches into the first"
