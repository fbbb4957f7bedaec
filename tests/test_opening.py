"""One corpus, written by code of its own after the format's description, read through every backend."""

import struct

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from conftest import edited_source
from corpus import lacking_map_bytes, open_corpus, open_index_mapped
from corpus.byte_source import local_files, pieces, shard_names
from corpus.index_mapped import MAP_BYTES
from foundation import UserError, sha256_of_file
from foundation.hub import forget_listings
from range_server import RangeServer, be_impatient, be_the_hub, in_shards
from test_indexed_dataset import hand_made_index
from test_sample_order import published_algorithm

ROW_TOKENS, NUM_ROWS = 2049, 40
ROW_BYTES = 2 * ROW_TOKENS


def write_by_hand(path, sequences):
    """A `.bin` and its `.idx`, put together with `struct` alone."""
    path.with_name(path.name + ".bin").write_bytes(
        b"".join(struct.pack(f"<{len(sequence)}H", *sequence) for sequence in sequences)
    )
    path.with_name(path.name + ".idx").write_bytes(hand_made_index([len(sequence) for sequence in sequences]))


def cut(directory, stem, content, sizes):
    for name, part in in_shards(content, sizes, stem).items():
        (directory / name).write_bytes(part)


@pytest.fixture(scope="module")
def rows():
    return np.random.default_rng(11).integers(2, 50277, (NUM_ROWS, ROW_TOKENS)).tolist()


@pytest.fixture(scope="module")
def merged(rows, tmp_path_factory):
    directory = tmp_path_factory.mktemp("merged")
    write_by_hand(directory / "document", rows)
    return directory


SHARD_SIZES = [30_001, 30_001, 30_001, 30_001, 43_916]  # no multiple of a row, and not even of a token


@pytest.fixture(scope="module")
def sharded(merged, tmp_path_factory):
    directory = tmp_path_factory.mktemp("sharded")
    cut(directory, "document", (merged / "document.bin").read_bytes(), SHARD_SIZES)
    return directory


@pytest.fixture(scope="module")
def unshuffled(tmp_path_factory):
    """Documents of unequal length, and the rows that GPT-NeoX's published algorithm takes from them in 1.5 epochs."""
    directory = tmp_path_factory.mktemp("unshuffled")
    rng = np.random.default_rng(12)
    documents = [rng.integers(2, 50277, size).tolist() for size in rng.integers(1, 5000, 23)]
    write_by_hand(directory / "pile_0.87_text_document", documents)
    sizes = [len(document) for document in documents]
    num_samples = int(1.5 * sum(sizes)) // (ROW_TOKENS - 1)
    doc_idx, sample_idx, shuffle_idx = published_algorithm(sizes, num_samples, ROW_TOKENS - 1, 1234)
    assert len(doc_idx) == 2 * len(documents)
    joined = np.concatenate([documents[document] for document in doc_idx])
    starts = [sum(sizes[document] for document in doc_idx[:entry]) + offset for entry, offset in sample_idx]
    rows = [joined[starts[window] : starts[window] + ROW_TOKENS].tolist() for window in shuffle_idx]
    return directory, num_samples, rows, (doc_idx, sample_idx.astype(np.int32), shuffle_idx)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def assert_reads_as(corpus, rows):
    assert (corpus.num_rows, corpus.row_tokens) == (len(rows), ROW_TOKENS)
    for start, stop in [(0, 1), (0, len(rows)), (5, 9), (len(rows) - 1, len(rows)), (3, 3)]:
        found = corpus.rows(start, stop)
        assert found.dtype == np.uint16
        assert found.tolist() == rows[start:stop]


def test_a_merged_file_with_its_index(merged, rows):
    assert_reads_as(open_corpus(merged / "document.bin"), rows)
    assert_reads_as(open_corpus(str(merged)), rows)
    assert_reads_as(open_corpus(merged / "document", num_rows=NUM_ROWS), rows)


def test_a_merged_file_without_an_index(merged, rows, tmp_path):
    (tmp_path / "rows.bin").write_bytes((merged / "document.bin").read_bytes())
    assert_reads_as(open_corpus(tmp_path / "rows.bin"), rows)


def test_shards_in_place(sharded, rows):
    assert_reads_as(open_corpus(sharded), rows)
    assert_reads_as(open_corpus(sharded / "document"), rows)
    assert_reads_as(open_corpus(sharded / "document-00002-of-00004.bin"), rows)


def test_shards_beside_their_index(sharded, merged, rows, tmp_path):
    for path in (*sharded.iterdir(), merged / "document.idx"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    assert_reads_as(open_corpus(tmp_path / "document"), rows)
    index = bytearray((merged / "document.idx").read_bytes())
    (tmp_path / "document.idx").write_bytes(bytes(index[:18]) + struct.pack("<Q", NUM_ROWS - 1) + bytes(index[26:]))
    with pytest.raises(UserError, match="its header speaks of"):
        open_corpus(tmp_path / "document")


def test_shards_on_a_web_server(sharded, rows):
    with RangeServer({f"pile/{path.name}": path for path in sharded.iterdir()}) as server:
        assert_reads_as(open_corpus(f"{server.url}/pile/document-00000-of-00004.bin"), rows)
        assert_reads_as(open_corpus(f"{server.url}/pile/document-00000-of-00004.bin", num_rows=NUM_ROWS), rows)


def test_a_merged_file_on_a_web_server(merged, rows):
    with RangeServer({"document.bin": merged / "document.bin"}) as server:
        assert_reads_as(open_corpus(f"{server.url}/document.bin"), rows)


@pytest.mark.parametrize("name", ["EleutherAI/pile-deduped-pythia-preshuffled", "me/rows.v2"])
def test_the_hubs_name_of_a_dataset_without_its_prefix_is_refused_with_it(name):
    with pytest.raises(UserError, match=rf"there is no corpus at {name}; .* is corpus.location=hf://datasets/{name}$"):
        open_corpus(name)


def test_shards_on_the_hub(sharded, rows, monkeypatch):
    commit, name = "c" * 40, "Somebody/rows"
    files = {f"datasets/{name}/resolve/{commit}/{path.name}": path for path in sharded.iterdir()}
    with RangeServer(files) as hub:
        hub.publish(
            name, commit, {path.name: (path.stat().st_size, sha256_of_file(path)) for path in sharded.iterdir()}
        )
        be_the_hub(monkeypatch, hub.url)
        corpus = open_corpus(f"hf://datasets/{name}")
        assert_reads_as(corpus, rows)
        assert corpus.identity()["revision"] == commit


def test_the_unshuffled_corpus_through_maps_built_here(unshuffled):
    directory, num_samples, rows, _ = unshuffled
    for _ in range(2):  # built, then kept
        corpus = open_index_mapped(directory / "pile_0.87_text_document", seed=1234, num_samples=num_samples)
        assert_reads_as(corpus, rows)


@pytest.fixture
def maps_hub(unshuffled, monkeypatch, tmp_path):
    """A hub with the maps of seed 1234, and those of another."""
    _, _, _, maps = unshuffled
    files = {}
    for name, values in zip(("doc", "sample", "shuffle"), maps, strict=True):
        np.save(tmp_path / "map.npy", values)
        for seed in (1234, 5):
            place = f"seed{seed}/pile_0.87_text_document_train_indexmap_10ns_{ROW_TOKENS - 1}sl_{seed}s_{name}_idx.npy"
            files[place] = (tmp_path / "map.npy").read_bytes()
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    be_impatient(monkeypatch)
    with RangeServer({}) as server:
        be_the_hub(monkeypatch, server.url)
        server.commit = server.publish_tables("Somebody/maps", {"README.md": b"-", **files})
        yield server


@pytest.mark.parametrize("failing", [429, 502, 0])
def test_maps_come_from_the_hub_once_and_only_those_of_the_seed(maps_hub, unshuffled, caplog, failing):
    directory, num_samples, rows, _ = unshuffled
    maps_hub.failing, maps_hub.storage_failing = [failing], [403]
    caplog.set_level("INFO")

    def opened():
        forget_listings()
        path = directory / "pile_0.87_text_document"
        return open_index_mapped(path, seed=1234, num_samples=num_samples, maps="hf://datasets/Somebody/maps")

    assert lacking_map_bytes("hf://datasets/Somebody/maps", 1234) == MAP_BYTES
    corpus = opened()
    assert_reads_as(corpus, rows)
    assert corpus.identity()["order"] == f"hf://datasets/Somebody/maps@{maps_hub.commit}"
    assert "the maps of seed 1234" in caplog.text
    assert {path.partition("/seed")[2].partition("/")[0] for path, *_ in maps_hub.log.ranges} == {"1234"}
    assert lacking_map_bytes("hf://datasets/Somebody/maps", 1234) == 0
    assert lacking_map_bytes("hf://datasets/Somebody/maps", 5) > 0
    maps_hub.go_away()
    assert opened().identity() == corpus.identity()


@pytest.mark.parametrize(
    ("location", "message"),
    [
        ("hf://datasets/Somebody/maps", "holds no maps seed7/"),
        ("hf://datasets/Somebody/others", "the hub has no dataset Somebody/others"),
        ("hf://datasets/Somebody", "is not understood; take a directory or hf://datasets/OWNER/NAME"),
    ],
)
def test_maps_that_the_hub_has_not_are_told(maps_hub, unshuffled, location, message):
    directory, num_samples, _, _ = unshuffled
    with pytest.raises(UserError, match=message):
        open_index_mapped(
            directory / "pile_0.87_text_document", seed=7, num_samples=num_samples, row_tokens=ROW_TOKENS, maps=location
        )


def test_maps_that_other_code_built_are_built_again(unshuffled, monkeypatch, tmp_path):
    directory, num_samples, _, _ = unshuffled
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    for edited, kept in [("corpus/opening.py", 1), ("corpus/sample_order.py", 2)]:
        open_index_mapped(directory / "pile_0.87_text_document", seed=1234, num_samples=num_samples)
        with edited_source(edited):
            open_index_mapped(directory / "pile_0.87_text_document", seed=1234, num_samples=num_samples)
        orders = (tmp_path / "pythia-counterfactual" / "orders").iterdir()
        assert sum(path.is_dir() for path in orders) == kept


def test_the_unshuffled_corpus_through_maps_from_files(unshuffled, tmp_path):
    directory, num_samples, rows, maps = unshuffled
    for kind, array in zip(("doc", "sample", "shuffle"), maps, strict=True):
        np.save(tmp_path / f"pile_train_0_indexmap_{num_samples}ns_2048sl_1234s_{kind}_idx.npy", array)
    corpus = open_index_mapped(directory / "pile_0.87_text_document", seed=1234, num_samples=0, maps=tmp_path)
    assert_reads_as(corpus, rows)
    assert corpus.layouts == 2


def test_the_unshuffled_corpus_in_shards(unshuffled, tmp_path):
    directory, num_samples, rows, _ = unshuffled
    content = (directory / "pile_0.87_text_document.bin").read_bytes()
    cut(tmp_path, "pile_0.87_text_document", content, [33_333, 33_333, len(content) - 66_666])
    (tmp_path / "pile_0.87_text_document.idx").write_bytes((directory / "pile_0.87_text_document.idx").read_bytes())
    corpus = open_index_mapped(tmp_path / "pile_0.87_text_document", seed=1234, num_samples=num_samples)
    assert_reads_as(corpus, rows)


@given(st.lists(st.integers(0, 30), min_size=1, max_size=8), st.data())
def test_pieces_cover_a_range_once_in_order(sizes, data):
    laid_out = [(file, offset) for file, size in enumerate(sizes) for offset in range(size)]
    start = data.draw(st.integers(0, len(laid_out)))
    stop = data.draw(st.integers(start, len(laid_out)))
    covered = [
        (piece.file, piece.offset + byte) for piece in pieces(sizes, start, stop) for byte in range(piece.length)
    ]
    assert covered == laid_out[start:stop]


def test_bytes_that_are_not_there_are_no_pieces():
    for start, stop in [(-1, 2), (3, 2), (5, 7)]:
        with pytest.raises(ValueError, match="of 6"):
            list(pieces([2, 4], start, stop))


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, NUM_ROWS), st.integers(0, NUM_ROWS), st.lists(st.integers(1, 60_000), max_size=9))
def test_any_cut_into_shards_reads_as_the_whole(merged, tmp_path_factory, one, other, sizes):
    content = (merged / "document.bin").read_bytes()
    while sum(sizes) >= len(content):
        sizes = sizes[1:]
    directory = tmp_path_factory.mktemp("cut")
    cut(directory, "document", content, [*sizes, len(content) - sum(sizes)])
    start, stop = sorted([one, other])
    assert open_corpus(directory).rows(start, stop).tobytes() == content[start * ROW_BYTES : stop * ROW_BYTES]


def test_a_missing_shard_is_named(sharded, tmp_path):
    for path in sharded.iterdir():
        if "00003-of" not in path.name:
            (tmp_path / path.name).write_bytes(path.read_bytes())
    for place in (tmp_path, tmp_path / "document", tmp_path / "document-00000-of-00004.bin"):
        with pytest.raises(UserError, match=r"document-00003-of-00004\.bin is (missing|not among them)"):
            open_corpus(place)


def test_without_the_last_shard_a_series_is_not_whole():
    """Twenty shards "of 00020" are not all: Pythia numbers by the last one."""
    names = [f"document-{index:05d}-of-00020.bin" for index in range(20)]
    with pytest.raises(UserError, match=r"holds 20 of 21 shards, document-00020-of-00020\.bin is not among them"):
        shard_names(names, where="there")
    assert len(shard_names([*names, "document-00020-of-00020.bin", "document.idx"], where="there")) == 21


def test_two_corpora_in_one_directory_are_told_apart_by_the_user(sharded, merged, tmp_path):
    for path in (*sharded.iterdir(), merged / "document.bin"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    with pytest.raises(UserError, match=r"document.bin and document-00000-of-00004.bin; name the one that is meant"):
        open_corpus(tmp_path)
    with pytest.raises(UserError, match=r"holds no \.bin file"):
        open_corpus(tmp_path.parent)


def test_other_numbers_of_rows_are_refused_with_both(merged, sharded):
    with pytest.raises(UserError, match="holds 40 rows of 2049 tokens, expected 41"):
        open_corpus(merged / "document.bin", num_rows=41)
    with pytest.raises(UserError, match=r"163920 bytes, no whole number of rows of 2048 uint16 tokens \(4096 bytes\)"):
        open_corpus(sharded, row_tokens=2048)


def test_a_shard_that_is_cut_short_after_it_was_opened_is_told(sharded, tmp_path):
    for path in sharded.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    corpus = open_corpus(tmp_path)
    with (tmp_path / "document-00004-of-00004.bin").open("r+b") as file:
        file.truncate(100)
    with pytest.raises(UserError, match="ends at byte 100, but bytes up to 43916 were there"):
        corpus.rows(0, NUM_ROWS)


def test_a_revision_of_a_path_is_refused(merged):
    with pytest.raises(UserError, match="is a path, which has no revisions"):
        open_corpus(merged, revision="main")


def test_a_prefix_with_signs_that_mean_something_elsewhere_is_taken_literally(rows, tmp_path):
    write_by_hand(tmp_path / "a+b(1)", rows[:4])
    cut(tmp_path, "a+b(2)", (tmp_path / "a+b(1).bin").read_bytes(), [10_000, 4 * ROW_BYTES - 10_000])
    assert local_files(tmp_path / "a+b(2)").size == 4 * ROW_BYTES


def test_an_index_with_other_tokens_than_uint16_is_refused(tmp_path):
    wide_index = bytearray(hand_made_index([3, 3], code=4))
    struct.pack_into("<q", wide_index, 34 + 4 * 2 + 8, 12)
    (tmp_path / "wide.bin").write_bytes(bytes(4 * 6))
    (tmp_path / "wide.idx").write_bytes(wide_index)
    with pytest.raises(UserError, match="tokens are int32, expected uint16"):
        open_corpus(tmp_path / "wide.bin", row_tokens=3)


def test_hidden_files_beside_shards_are_passed_over_as_those_that_macos_leaves(tmp_path):
    names = [f"document-{part:05d}-of-00001.bin" for part in range(2)]
    for name in names:
        (tmp_path / name).write_bytes(np.arange(1, 5, dtype="<u2").tobytes())
        (tmp_path / f"._{name}").write_bytes(b"Mac OS X")
    assert open_corpus(tmp_path, row_tokens=4).num_rows == 2


def test_a_shard_that_is_a_link_to_nothing_is_told_as_that(tmp_path):
    (tmp_path / "document-00000-of-00001.bin").write_bytes(np.arange(1, 5, dtype="<u2").tobytes())
    (tmp_path / "document-00001-of-00001.bin").symlink_to(tmp_path / "gone")
    with pytest.raises(UserError, match=r"document-00001-of-00001\.bin is a link to .*gone, where nothing is"):
        open_corpus(tmp_path, row_tokens=4)
