import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpus.index_mapped import IndexMapped, open_index_mapped
from corpus.indexed_dataset import read_indexed_dataset, write_indexed_dataset
from corpus.sample_order import (
    MAPS,
    check_order,
    check_windows,
    find_maps,
    load_order,
    map_names,
    sample_order,
    save_order,
)
from foundation import UserError


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
    st.lists(st.integers(0, 12), min_size=2, max_size=30).filter(lambda sizes: sum(sizes) > 9),
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


def order_of(dataset, num_samples):
    return sample_order(np.asarray(dataset.index.sizes), num_samples=num_samples, seq_length=6, seed=1234)


def test_unshuffled_windows_overlap_in_one_token_and_follow_the_shuffled_documents(dataset):
    order = order_of(dataset, 5)
    joined = np.concatenate([dataset[document] for document in order.documents])
    rows = IndexMapped(dataset, order, "a test").rows(0, len(order.shuffle))
    for row, window in zip(rows, order.shuffle, strict=True):
        np.testing.assert_array_equal(row, joined[6 * window : 6 * window + 7])


def test_two_epochs_are_shuffled_as_one(dataset):
    order = order_of(dataset, (dataset.num_tokens - 1) // 6 + 1)
    assert sorted(order.documents) == sorted([*range(20), *range(20)])
    assert set(order.documents[:20]) != set(range(20)), "the second epoch reaches into the first"


def test_windows_are_the_same_when_they_are_built_in_parts(dataset, monkeypatch):
    whole = order_of(dataset, 40)
    monkeypatch.setattr("corpus.sample_order._WINDOWS_AT_ONCE", 3)
    np.testing.assert_array_equal(order_of(dataset, 40).windows, whole.windows)


@pytest.fixture
def maps(dataset, tmp_path):
    """The maps of a small order, saved under the names that GPT-NeoX gives them."""
    order = order_of(dataset, 14)
    names = map_names("toy_text_document", num_samples=14, seq_length=6, seed=1234)
    (tmp_path / "maps").mkdir()
    save_order(order, tmp_path / "maps", names)
    return tmp_path / "maps"


def test_saved_maps_have_the_names_that_gpt_neox_gives_them(maps):
    assert sorted(path.name for path in maps.iterdir()) == [
        f"toy_text_document_train_0_indexmap_14ns_6sl_1234s_{kind}_idx.npy" for kind in ("doc", "sample", "shuffle")
    ]


def test_maps_that_gpt_neox_wrote_are_read_as_they_are(dataset, tmp_path):
    sizes = np.asarray(dataset.index.sizes)
    for kind, array in zip(MAPS, published_algorithm(sizes, 14, 6, 7), strict=True):
        np.save(tmp_path / f"pile_train_0_indexmap_14ns_6sl_7s_{kind}_idx.npy", array, allow_pickle=True)
    read = load_order(find_maps(tmp_path, seq_length=6, seed=7, num_samples=14), seq_length=6)
    built = sample_order(sizes, num_samples=14, seq_length=6, seed=7)
    for name in ("documents", "windows", "shuffle"):
        np.testing.assert_array_equal(getattr(read, name), getattr(built, name))


def test_maps_of_another_seed_are_not_found(maps):
    with pytest.raises(UserError, match=r"holds 0 files .*6sl_9s_doc_idx\.npy of training, expected one"):
        find_maps(maps, seq_length=6, seed=9, num_samples=14)


@pytest.mark.parametrize("other", ["valid_0_indexmap_9ns", "test_0_indexmap_14ns", "train_0_indexmap_900ns"])
def test_training_maps_of_the_number_of_samples_are_found_among_others(maps, other):
    expected = find_maps(maps, seq_length=6, seed=1234, num_samples=14)
    for path in sorted(maps.iterdir()):
        path.with_name(path.name.replace("train_0_indexmap_14ns", other)).write_bytes(b"")
    assert find_maps(maps, seq_length=6, seed=1234, num_samples=14) == expected


def test_maps_of_several_numbers_of_samples_of_which_none_is_meant_are_refused(maps):
    for path in sorted(maps.iterdir()):
        path.with_name(path.name.replace("_14ns", "_900ns")).write_bytes(b"")
    with pytest.raises(UserError, match=r"holds 2 files .* of training, expected one"):
        find_maps(maps, seq_length=6, seed=1234, num_samples=15)


def test_maps_where_there_is_no_directory_are_told_as_that(tmp_path):
    with pytest.raises(
        UserError, match=r"there is no directory .*elsewhere of maps; name one, or leave corpus.maps out"
    ):
        find_maps(tmp_path / "elsewhere", seq_length=6, seed=1234, num_samples=14)


def loaded(maps):
    return load_order(find_maps(maps, seq_length=6, seed=1234, num_samples=14), seq_length=6)


def changed(maps, kind, change):
    (path,) = maps.glob(f"*_{kind}_idx.npy")
    array = np.load(path)
    path.unlink()
    np.save(path, change(array))


def zero_the_end(array):
    array[len(array) // 3 :] = 0
    return array


def test_a_shuffle_that_is_no_permutation_is_refused_with_what_it_leaves_out(maps):
    changed(maps, "shuffle", zero_the_end)
    with pytest.raises(UserError, match=r"leaves out \d+ of \d+ windows"):
        check_order(loaded(maps), num_documents=20, origin="the maps")


def test_documents_that_come_never_or_are_not_there_are_refused(maps):
    with pytest.raises(UserError, match="but the corpus has 19; they belong to another corpus"):
        check_order(loaded(maps), num_documents=19, origin="the maps")
    changed(maps, "doc", zero_the_end)
    with pytest.raises(UserError, match=r"leave out .* of 20 documents"):
        check_order(loaded(maps), num_documents=20, origin="the maps")


def test_windows_and_shuffle_of_two_orders_are_refused_with_both_lengths(maps):
    changed(maps, "shuffle", lambda array: array[:-2])
    with pytest.raises(UserError, match="do not belong together"):
        loaded(maps)


def test_a_map_that_is_no_array_is_refused_and_never_unpickled(maps):
    changed(maps, "doc", lambda array: np.array([{"a": 1}], object))
    with pytest.raises(UserError, match=r"is no \.npy array of numbers"):
        loaded(maps)


def test_maps_of_other_documents_are_refused_where_they_do_not_fit(dataset, maps, tmp_path):
    order = loaded(maps)
    backwards = [dataset[document] for document in reversed(range(20))]
    write_indexed_dataset(tmp_path / "other", backwards, dtype=np.uint16)
    other = IndexMapped(read_indexed_dataset(tmp_path / "other"), order, "the maps")
    with pytest.raises(UserError, match="the maps belong to other documents"):
        other.rows(0, other.num_rows)


@pytest.mark.parametrize("empty", [1, 5, 12])
@pytest.mark.parametrize("seed", range(6))
def test_empty_documents_at_the_beginning_leave_the_first_window_where_gpt_neox_has_it(empty, seed):
    sizes = np.array([0] * empty + [7, 9, 30], np.int32)
    order = sample_order(sizes, num_samples=9, seq_length=4, seed=seed)
    documents, windows, _ = published_algorithm(sizes, 9, 4, seed)
    np.testing.assert_array_equal(order.documents, documents)
    np.testing.assert_array_equal(order.windows, windows)
    assert order.windows[0].tolist() == [0, 0]
    check_order(order, num_documents=len(sizes), origin="the maps")
    check_windows(order, sizes, origin="the maps")


def test_rows_are_the_joined_tokens_where_documents_are_empty(tmp_path):
    documents = [np.arange(start, start + size) for start, size in [(1, 0), (1, 0), (1, 9), (10, 0), (10, 11)]]
    write_indexed_dataset(tmp_path / "toy", documents, dtype=np.uint16)
    dataset = read_indexed_dataset(tmp_path / "toy")
    for seed in range(20):
        order = sample_order(np.asarray(dataset.index.sizes), num_samples=5, seq_length=4, seed=seed)
        joined = np.concatenate([dataset[document] for document in order.documents])
        rows = IndexMapped(dataset, order, "a test").rows(0, len(order.shuffle))
        for row, window in zip(rows, order.shuffle, strict=True):
            np.testing.assert_array_equal(row, joined[4 * window : 4 * window + 5])


def put(place, value):
    def change(array):
        array[place] = value
        return array

    return change


def opened(tmp_path, maps):
    return open_index_mapped(tmp_path / "toy", seed=1234, num_samples=14, row_tokens=7, maps=maps)


@pytest.mark.parametrize(
    ("kind", "change", "part"),
    [
        ("sample", put((3, 0), 10_000), "window 3 begins at token"),
        ("sample", put((3, 0), -1), "window 3 begins at token"),
        ("sample", put((3, 1), -1), "window 3 begins at token -1"),
        ("sample", put((3, 1), 1 << 30), "window 3 begins at token"),
        ("sample", put((0, 1), 1), "window 0 begins at token 1"),
        ("sample", put((-1, 1), 7), "begins at token 7"),
        ("sample", lambda array: array[::-1].copy(), "window 0 begins"),
        ("sample", lambda array: array.astype(np.float64), "holds float64, expected whole numbers"),
        ("doc", lambda array: array.astype(np.float32), "holds float32, expected whole numbers"),
        ("doc", lambda array: array > 3, "holds bool, expected whole numbers"),
        ("doc", put(0, -3), "documents from number -3"),
        ("doc", lambda array: array[::-1].copy(), "begins at token"),
        ("doc", lambda array: array.reshape(2, -1), "the maps have shapes"),
        ("shuffle", lambda array: array.astype(np.complex64), "holds complex64"),
        ("shuffle", put(2, -1), "leaves out 1 of"),
        ("shuffle", lambda array: np.array(7), "the maps have shapes"),
    ],
)
def test_damaged_maps_are_refused_when_they_are_opened(dataset, maps, tmp_path, kind, change, part):
    assert opened(tmp_path, maps).num_rows == len(loaded(maps).shuffle)
    changed(maps, kind, lambda array: change(array.astype(np.int64)))
    with pytest.raises(UserError, match=part) as caught:
        opened(tmp_path, maps)
    assert "\n" not in str(caught.value)


def test_a_document_that_comes_more_often_than_another_is_refused(dataset):
    order = order_of(dataset, (dataset.num_tokens - 1) // 6 + 1)
    first, second = order.documents[0], order.documents[order.documents != order.documents[0]][0]
    order.documents[np.flatnonzero(order.documents == first)[0]] = second
    with pytest.raises(UserError, match=rf"lay document {second} out 3 times and document {first} 1 times"):
        check_order(order, num_documents=20, origin="the maps")


@pytest.mark.parametrize("kind", MAPS)
def test_an_archive_of_arrays_is_no_map(maps, kind):
    (path,) = maps.glob(f"*_{kind}_idx.npy")
    array = np.load(path)
    with path.open("wb") as file:
        np.savez(file, array)
    with pytest.raises(UserError, match="is an archive of arrays"):
        loaded(maps)


@pytest.mark.parametrize("kind", MAPS)
def test_a_flipped_byte_in_a_map_changes_no_row_or_is_refused(dataset, maps, tmp_path, kind):
    (path,) = maps.glob(f"*_{kind}_idx.npy")
    whole, corpus = path.read_bytes(), opened(tmp_path, maps)
    expected = corpus.rows(0, corpus.num_rows)
    rng = np.random.default_rng(0)
    for _ in range(60):
        damaged = bytearray(whole)
        damaged[rng.integers(len(whole))] ^= int(rng.integers(1, 256))
        path.unlink()
        path.write_bytes(damaged)
        try:
            found = opened(tmp_path, maps)
        except UserError as error:
            assert "\n" not in str(error)
        else:
            np.testing.assert_array_equal(found.rows(0, found.num_rows), expected)
