"""Bytes that are no uint16 tokens, although their number would do."""

import gzip

import numpy as np
import pytest
import torch

from corpus import Segment, open_corpus, open_index_mapped
from corpus.inspection import check_bytes
from foundation import UserError
from range_server import RangeServer
from test_opening import write_by_hand

ROW = 65


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def ids(rows=32, vocabulary=50_277, seed=0):
    """Most of them low, as in text."""
    drawn = np.random.default_rng(seed).zipf(1.2, (rows, ROW))
    return np.minimum(drawn, vocabulary - 1)


def refused(path, *parts, **options):
    with pytest.raises(UserError) as caught:
        open_corpus(path, row_tokens=ROW, **options)
    message = str(caught.value)
    assert "\n" not in message
    assert str(path) in message
    for part in parts:
        assert part in message
    return message


def carry_out(remedy, old, new):
    """What a message says to run, on these files."""
    code = remedy.partition('python -c "')[2].partition('"')[0]
    exec(code.replace("OLD.bin", str(old)).replace("NEW.bin", str(new)), {})


@pytest.mark.parametrize("rows", [2, 32, 4000])
@pytest.mark.parametrize("code", ["<i4", ">i4", "<u4", "<i8", ">i8", "<f4", "<f8", ">f4"])
@pytest.mark.parametrize("vocabulary", [384, 50_277])
def test_tokens_of_more_than_two_bytes_are_refused_with_a_remedy_that_works(tmp_path, rows, code, vocabulary):
    tokens = ids(rows, vocabulary)
    tokens.astype(code).tofile(tmp_path / "wide.bin")
    message = refused(tmp_path / "wide.bin", "expected uint16", "numpy.memmap")
    carry_out(message, tmp_path / "wide.bin", tmp_path / "new.bin")
    assert np.array_equal(open_corpus(tmp_path / "new.bin", row_tokens=ROW).rows(0, rows), tokens)


def test_wide_tokens_of_a_server_are_refused_when_they_are_read(tmp_path):
    ids(400).astype("<i4").tofile(tmp_path / "wide.bin")
    with RangeServer({"wide.bin": tmp_path / "wide.bin"}) as server:
        corpus = open_corpus(f"{server.url}/wide.bin", row_tokens=ROW)
        segment = Segment(corpus, step=0, steps=9, sequences_per_step=21, rows_before=0)
        for step in range(5):
            with pytest.raises(UserError, match=r"wide\.bin holds tokens as int32, expected uint16"):
                segment.batch(step)


def test_wide_tokens_with_their_index_are_refused_with_a_remedy(tmp_path):
    tokens = ids().tolist()
    write_by_hand(tmp_path / "wide", tokens)
    index = bytearray((tmp_path / "wide.idx").read_bytes())
    index[17] = 4
    sizes = np.frombuffer(bytes(index[34 : 34 + 4 * len(tokens)]), "<i4").astype(np.int64) * 4
    index[34 + 4 * len(tokens) : 34 + 12 * len(tokens)] = (np.cumsum(sizes) - sizes).astype("<i8").tobytes()
    (tmp_path / "wide.idx").write_bytes(index)
    np.asarray(tokens, "<i4").tofile(tmp_path / "wide.bin")
    with pytest.raises(
        UserError, match=r"tokens are int32, expected uint16; write them anew, without an \.idx"
    ) as caught:
        open_corpus(tmp_path / "wide.bin", row_tokens=ROW)
    carry_out(str(caught.value), tmp_path / "wide.bin", tmp_path / "new.bin")
    assert open_corpus(tmp_path / "new.bin", row_tokens=ROW).rows(0, 32).tolist() == tokens
    with pytest.raises(UserError, match=r"tokens are int32, expected uint16; have the corpus preprocessed again"):
        open_index_mapped(tmp_path / "wide", seed=1, num_samples=2, row_tokens=ROW)


def padded(content, beginning):
    """`content` behind a header, with as many bytes in all as 32 rows have."""
    return (beginning + content)[: 32 * ROW * 2].ljust(32 * ROW * 2, b"\x07")


@pytest.mark.parametrize(
    ("beginning", "parts"),
    [
        (b"\x93NUMPY\x01\x00v\x00{'descr': '<u2'", ["a NumPy array with its header", "tofile"]),
        (b"MMIDIDX\x00\x00\x01", ["a Megatron index", "name the .bin"]),
        (b"version https://git-lfs.github.com/spec/v1\n", ["git lfs pull"]),
        (gzip.compress(b"a")[:4], ["compressed by gzip", "unpack"]),
        (b"PK\x03\x04", ["a zip archive"]),
        (b"PAR1", ["a Parquet table"]),
        (b"<!DOCTYPE html><html>", ["a page of the web"]),
    ],
)
def test_other_kinds_of_files_are_refused_by_their_beginning(tmp_path, beginning, parts):
    content = padded(ids().astype("<u2").tobytes(), beginning)
    (tmp_path / "rows.bin").write_bytes(content)
    refused(tmp_path / "rows.bin", *parts)


@pytest.mark.parametrize("shard", [0, 1, 2])
def test_an_empty_shard_is_refused(tmp_path, shard):
    content = ids().astype("<u2").tobytes()
    parts = [content[:2000], content[2000:]]
    parts.insert(shard, b"")
    for number, part in enumerate(parts):
        (tmp_path / f"document-{number:05d}-of-00002.bin").write_bytes(part)
    refused(tmp_path, f"document-{shard:05d}-of-00002.bin is empty")


def test_a_numpy_array_as_one_of_the_shards_is_refused(tmp_path):
    tokens = ids().astype("<u2")
    tokens[:16].tofile(tmp_path / "document-00000-of-00001.bin")
    np.save(tmp_path / "aside.npy", tokens[16:])
    (tmp_path / "aside.npy").rename(tmp_path / "document-00001-of-00001.bin")
    refused(tmp_path, "document-00001-of-00001.bin is a NumPy array")


@pytest.mark.parametrize("text", [b"He said that she left.\n", b'{"text": "a"}\n', b"0123456789abcdef", b"1,2,3\r\n"])
def test_text_is_refused(tmp_path, text):
    (tmp_path / "rows.bin").write_bytes((text * 4160)[: 32 * ROW * 2])
    refused(tmp_path / "rows.bin", "plain text", "corpus=demo corpus.text=FILE")


@pytest.mark.parametrize("hole", [slice(1234, 1236), slice(700, 1300)])
def test_a_batch_from_a_hole_of_a_file_is_refused_when_it_is_read(tmp_path, hole):
    tokens = ids(2000).astype("<u2")
    tokens[hole] = 0
    tokens.tofile(tmp_path / "rows.bin")
    corpus = open_corpus(tmp_path / "rows.bin", row_tokens=ROW)
    segment = Segment(corpus, step=0, steps=50, sequences_per_step=40, rows_before=0)
    assert segment.batch(0).shape == (40, ROW)
    step = hole.start // 40
    number = min(hole.stop, 40 * step + 40) - hole.start
    with pytest.raises(UserError, match=rf"nothing but token 0 in row {hole.start} \({number} of 40 rows"):
        segment.batch(step)


@pytest.mark.parametrize("vocabulary", [3, 300, 50_277])
@pytest.mark.parametrize("rows", [1, 2, 500])
def test_tokens_are_taken_for_tokens(tmp_path, rows, vocabulary):
    tokens = ids(rows, vocabulary, seed=rows)
    tokens[:, 1::7] = 0
    tokens[0, 1:] = 17  # a row of one word
    tokens.astype("<u2").tofile(tmp_path / "rows.bin")
    assert np.array_equal(open_corpus(tmp_path / "rows.bin", row_tokens=ROW).rows(0, rows), tokens)


def test_so_few_bytes_that_nothing_can_be_said_are_let_pass():
    check_bytes(np.arange(4, dtype="<i4").view(np.uint8), location="there")


def test_a_shard_with_the_header_of_llm_c_is_told_with_what_cuts_it_off(tmp_path):
    header = np.zeros(256, "<i4")
    header[:3] = 20240520, 1, ids().size
    path = tmp_path / "train_000001.bin"
    path.write_bytes(header.tobytes() + ids().astype("<u2").tobytes())
    message = refused(path, "a shard of llm.c with its header of 1,024 bytes", "cut it off (tail -c +1025)")
    assert "uint16" in message
    (tmp_path / "rows.bin").write_bytes(path.read_bytes()[1024:])  # the remedy
    np.testing.assert_array_equal(open_corpus(tmp_path / "rows.bin", row_tokens=ROW).rows(0, 32), ids())


@pytest.mark.parametrize("zipped", [True, False])
def test_what_pytorch_saved_is_no_corpus(tmp_path, zipped):
    torch.save(torch.from_numpy(ids()), tmp_path / "rows.bin", _use_new_zipfile_serialization=zipped)
    refused(tmp_path / "rows.bin", "a zip archive" if zipped else "an object that PyTorch saved")
