import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpus.indexed_dataset import read_index, read_indexed_dataset, write_indexed_dataset
from foundation import UserError


def hand_made_index(sizes, *, version=1, code=8):
    """An index put together field by field, as the layout is documented, for uint16 tokens."""
    pointers = [2 * sum(sizes[:i]) for i in range(len(sizes))]
    return b"".join(
        [
            b"MMIDIDX\x00\x00",
            struct.pack("<Q", version),
            struct.pack("<B", code),
            struct.pack("<Q", len(sizes)),
            struct.pack("<Q", len(sizes) + 1),
            struct.pack(f"<{len(sizes)}i", *sizes),
            struct.pack(f"<{len(sizes)}q", *pointers),
            struct.pack(f"<{len(sizes) + 1}q", *range(len(sizes) + 1)),
        ]
    )


def test_a_hand_made_pair_of_files_reads_as_its_documents(tmp_path):
    (tmp_path / "toy.idx").write_bytes(hand_made_index([3, 1, 2]))
    (tmp_path / "toy.bin").write_bytes(struct.pack("<6H", 10, 11, 12, 20, 30, 31))
    dataset = read_indexed_dataset(tmp_path / "toy")
    assert [sequence.tolist() for sequence in dataset] == [[10, 11, 12], [20], [30, 31]]
    assert dataset.index.document_index.tolist() == [0, 1, 2, 3]
    assert dataset.index.dtype == np.uint16


def test_the_writer_makes_the_documented_bytes(tmp_path):
    write_indexed_dataset(tmp_path / "toy", [np.array([7, 65499]), np.array([9])], dtype=np.uint16)
    assert (tmp_path / "toy.idx").read_bytes() == hand_made_index([2, 1])
    assert (tmp_path / "toy.bin").read_bytes() == struct.pack("<3H", 7, 65499, 9)


@given(st.lists(st.lists(st.integers(0, 65535), min_size=1, max_size=9), min_size=1, max_size=20))
def test_what_is_written_is_read_back(tmp_path_factory, sequences):
    prefix = tmp_path_factory.mktemp("round") / "trip"
    write_indexed_dataset(prefix, [np.array(sequence) for sequence in sequences], dtype=np.uint16)
    assert [sequence.tolist() for sequence in read_indexed_dataset(prefix)] == sequences


def test_a_bin_that_the_index_contradicts_is_refused_with_both_sizes(tmp_path):
    (tmp_path / "toy.idx").write_bytes(hand_made_index([3, 1, 2]))
    (tmp_path / "toy.bin").write_bytes(b"\0" * 10)
    with pytest.raises(UserError, match=r"has 10 bytes, but toy\.idx speaks of 12"):
        read_indexed_dataset(tmp_path / "toy")


def test_a_truncated_index_is_refused_with_both_sizes(tmp_path):
    whole = hand_made_index([3, 1, 2])
    (tmp_path / "toy.idx").write_bytes(whole[:-8])
    (tmp_path / "toy.bin").write_bytes(b"\0" * 12)
    with pytest.raises(UserError, match=f"has {len(whole) - 8} bytes, its header speaks of {len(whole)}"):
        read_indexed_dataset(tmp_path / "toy")


@pytest.mark.parametrize("index", [b"not an index", hand_made_index([1], version=2), hand_made_index([1], code=9)])
def test_what_is_no_megatron_index_is_refused(tmp_path, index):
    (tmp_path / "toy.idx").write_bytes(index)
    (tmp_path / "toy.bin").write_bytes(b"\0\0")
    with pytest.raises(UserError, match=r"index|version"):
        read_indexed_dataset(tmp_path / "toy")


def test_a_name_with_a_dot_is_a_whole_name(tmp_path):
    prefix = tmp_path / "pile_0.87_deduped_text_document"
    write_indexed_dataset(prefix, [np.array([1, 2]), np.array([3])], dtype=np.uint16)
    assert [sequence.tolist() for sequence in read_indexed_dataset(prefix)] == [[1, 2], [3]]


def test_an_index_whose_pointers_contradict_its_sizes_is_refused_with_both(tmp_path):
    index = bytearray(hand_made_index([3, 1, 2]))
    struct.pack_into("<q", index, 34 + 4 * 3 + 8, 4)
    (tmp_path / "toy.idx").write_bytes(index)
    (tmp_path / "toy.bin").write_bytes(b"\0" * 12)
    with pytest.raises(UserError, match="sequence 0 takes 6 bytes, but the next begins 4 bytes behind"):
        read_indexed_dataset(tmp_path / "toy")


def test_a_total_beyond_31_bits_is_told_right(tmp_path):
    sizes = [2**31 - 1, 2**31 - 1, 2**31 - 1]
    (tmp_path / "huge.idx").write_bytes(hand_made_index(sizes))
    assert read_index(tmp_path / "huge.idx").num_bytes == 2 * sum(sizes)


def test_sequences_are_read_from_shards_in_place(tmp_path):
    sequences = [np.arange(start, start + 5) for start in range(0, 60, 5)]
    write_indexed_dataset(tmp_path / "whole", sequences, dtype=np.uint16)
    content = (tmp_path / "whole.bin").read_bytes()
    for shard, part in enumerate([content[:37], content[37:90], content[90:]]):
        (tmp_path / f"cut-{shard:05d}-of-00002.bin").write_bytes(part)
    (tmp_path / "cut.idx").write_bytes((tmp_path / "whole.idx").read_bytes())
    assert [row.tolist() for row in read_indexed_dataset(tmp_path / "cut")] == [row.tolist() for row in sequences]
