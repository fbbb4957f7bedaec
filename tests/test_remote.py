"""Remote files by blocks. Sizes are a 2,048th of the real ones: blocks of 4 KiB, requests of 64 KiB."""

import hashlib
import os
import random
import resource
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from corpus.remote.blocks import Block, BlockStore
from corpus.remote.files import BLOCK_BYTES, REQUEST_BYTES, RemoteFiles
from corpus.remote.listing import remote_place
from foundation import UserError
from foundation.web import Client, Patience
from range_server import (
    RangeServer,
    drop_after,
    end_without_length,
    in_shards,
    shifted,
    status,
    whole_file,
    with_headers,
)

KIB = 1024
BLOCK, REQUEST = 4 * KIB, 64 * KIB
HASTY = Patience(tries=4, first_delay_s=0.01, longest_delay_s=0.02, timeout_s=5, progress_bytes=16 * KIB)


def shards(sizes=(300_000, 300_000, 100_001), seed=0):
    """Random bytes in files named as shards are, and all of them together."""
    content = np.random.default_rng(seed).bytes(sum(sizes))
    return in_shards(content, sizes), content


def opened(url, cache, *, max_bytes=1 << 30, size=None, in_flight=4, patience=HASTY):
    place = remote_place(url, revision=None, client=Client(patience=patience), listings=cache / "listings")
    store = BlockStore(cache / "blocks", max_bytes=max_bytes)
    return RemoteFiles(place, store, size=size, block_bytes=BLOCK, request_bytes=REQUEST, in_flight=in_flight)


def first_shard(server):
    return f"{server.url}/{next(iter(server.files)).removeprefix('/')}"


def read(files, start, stop):
    into = bytearray(stop - start)
    files.read(start, memoryview(into))
    return bytes(into)


FILES, CONTENT = shards()


@pytest.fixture(scope="module")
def well_behaved():
    with RangeServer(FILES) as server:
        yield server


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_bytes_are_those_of_the_files_laid_end_to_end(well_behaved, tmp_path_factory, data):
    files = opened(first_shard(well_behaved), tmp_path_factory.mktemp("cache"))
    for _ in range(3):
        start = data.draw(st.integers(0, len(CONTENT)))
        stop = data.draw(st.integers(start, len(CONTENT)))
        assert read(files, start, stop) == CONTENT[start:stop]


@pytest.mark.parametrize("first", [0, 57, 93, 121, 240])
def test_a_hundred_steps_take_few_requests_and_hardly_a_byte_too_many(tmp_path, first):
    """The figures of the real sizes, scaled: a step of 4,196,352 bytes becomes 2,049."""
    assert (BLOCK_BYTES // BLOCK, REQUEST_BYTES // REQUEST) == (2048, 2048)
    step_bytes, steps = 2049, 100
    with RangeServer(FILES) as server:
        files = opened(first_shard(server), tmp_path)
        files.expect(first * step_bytes, (first + steps) * step_bytes)
        for step in range(first, first + steps):
            assert read(files, step * step_bytes, (step + 1) * step_bytes) == CONTENT[step * 2049 : (step + 1) * 2049]
        needed = steps * step_bytes
        assert server.log.bytes_sent <= 1.02 * needed + BLOCK
        assert len(server.log.ranges) <= -(-server.log.bytes_sent // (32 * KIB))


def test_what_is_kept_is_not_asked_for_again(tmp_path):
    with RangeServer(FILES) as server:
        assert read(opened(first_shard(server), tmp_path), 0, 200_000) == CONTENT[:200_000]
        asked = len(server.log.ranges)
        assert read(opened(first_shard(server), tmp_path), 10, 199_990) == CONTENT[10:199_990]
        assert len(server.log.ranges) == asked


def test_only_the_missing_blocks_of_a_range_are_fetched(tmp_path):
    with RangeServer(FILES) as server:
        files = opened(first_shard(server), tmp_path)
        read(files, 2 * BLOCK, 3 * BLOCK)
        server.log.ranges.clear()
        read(files, 0, 5 * BLOCK)
        asked = sorted((start, stop) for _, start, stop, _ in server.log.ranges)
        assert asked == [(0, 2 * BLOCK), (3 * BLOCK, 5 * BLOCK)]


def test_announced_bytes_come_before_they_are_read_and_no_others(tmp_path):
    with RangeServer(FILES) as server:
        files = opened(first_shard(server), tmp_path)
        files.expect(100_000, 400_000)
        wait_until(lambda: files.cost(100_000, 400_000).fetch_bytes == 0)
        asked = len(server.log.ranges)
        assert read(files, 100_000, 400_000) == CONTENT[100_000:400_000]
        assert len(server.log.ranges) == asked
        assert server.log.bytes_sent <= 300_000 + 4 * BLOCK


def wait_until(condition, timeout_s=20):
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.01)


FAULTS = [
    status(429, Retry_After=0),
    status(500),
    status(503),
    drop_after(0),
    drop_after(10_000),
    end_without_length(20_000),
    shifted(3),
    with_headers(Content_Range=None),
    with_headers(Content_Length=5),
]


@pytest.mark.parametrize("seed", range(8))
def test_whatever_a_server_does_a_read_is_right_or_fails_in_one_line(tmp_path, seed):
    rng = random.Random(seed)
    faults = [rng.choice([*FAULTS, None, None, None]) for _ in range(60)]
    with RangeServer(FILES, faults=faults) as server:
        files = opened(first_shard(server), tmp_path)
        right = 0
        for _ in range(12):
            start = rng.randrange(len(CONTENT))
            stop = rng.randrange(start, len(CONTENT))
            try:
                assert read(files, start, stop) == CONTENT[start:stop]
                right += 1
            except UserError as error:
                assert "failed 4 times in a row" in str(error)
        assert right > 0
        server.faults.clear()
        assert read(files, 0, len(CONTENT)) == CONTENT


@pytest.mark.parametrize(("fault", "message"), [(whole_file, "whole files only"), (status(403), "refuses it")])
def test_what_a_background_fetch_meets_is_told_to_the_reader(tmp_path, fault, message):
    with RangeServer(FILES, faults=[fault] * 50) as server:
        files = opened(first_shard(server), tmp_path)
        files.expect(0, 300_000)
        with pytest.raises(UserError, match=message):
            read(files, 0, 1000)


def test_a_reader_goes_on_when_the_network_is_back(tmp_path):
    with RangeServer(FILES, faults=[status(503)] * 4) as server:
        files = opened(first_shard(server), tmp_path, in_flight=1)
        with pytest.raises(UserError, match="failed 4 times"):
            read(files, 0, 1000)
        assert read(files, 0, 1000) == CONTENT[:1000]


def test_a_file_that_changed_since_it_was_listed_is_refused(tmp_path):
    with RangeServer(FILES) as server:
        files = opened(first_shard(server), tmp_path)
        read(files, 0, 10)
        path = next(iter(server.files))
        server.files[path] += b"more"
        server.sizes[path] += 4
        with pytest.raises(UserError, match="has 300004 bytes now, but had 300000 when it was opened"):
            read(files, 200_000, 200_010)


def test_a_file_that_changed_but_kept_its_size_is_refused_and_not_mixed(tmp_path):
    other, _ = shards(seed=1)
    with RangeServer(FILES) as server:
        files = opened(first_shard(server), tmp_path)
        read(files, 0, 10)
        server.files, server.etag = {f"/{name}": content for name, content in other.items()}, '"v2"'
        with pytest.raises(UserError, match='is of version "v2" now'):
            read(files, 200_000, 200_010)


def test_another_version_under_the_same_name_is_fetched_anew(tmp_path):
    other, other_content = shards(seed=1)
    with RangeServer(FILES) as server:
        url = first_shard(server)
        assert read(opened(url, tmp_path), 0, 100) == CONTENT[:100]
        server.files, server.etag = {f"/{name}": content for name, content in other.items()}, '"v2"'
        assert read(opened(url, tmp_path), 0, 100) == other_content[:100]


def test_a_length_that_the_server_lies_about_ends_in_one_line(tmp_path):
    with RangeServer(FILES) as server:
        path = next(iter(server.files))
        server.said_sizes[path] = 300_000 + BLOCK
        with pytest.raises(UserError, match="has 300000 bytes now, but had 304096"):
            read(opened(first_shard(server), tmp_path), 0, 10)


def test_a_shard_that_is_not_there_is_named(tmp_path):
    incomplete = {name: content for name, content in FILES.items() if "00001-of" not in name}
    with (
        RangeServer(incomplete) as server,
        pytest.raises(UserError, match=r"document-00001-of-00002\.bin: there is no"),
    ):
        read(opened(first_shard(server), tmp_path), 0, 10)


def test_another_size_than_expected_is_refused_with_both(tmp_path):
    with RangeServer(FILES) as server, pytest.raises(UserError, match="has 700001 bytes in 3 files, expected 700000"):
        read(opened(first_shard(server), tmp_path, size=700_000), 0, 10)


def test_a_damaged_block_is_told_removed_and_fetched_again(tmp_path, caplog):
    with RangeServer(FILES) as server:
        read(opened(first_shard(server), tmp_path), 0, 50_000)
        blocks = sorted((tmp_path / "blocks").rglob("*.block"))
        content = bytearray(blocks[1].read_bytes())
        content[17] ^= 1
        blocks[1].write_bytes(content)
        blocks[2].write_bytes(blocks[2].read_bytes()[:-9])
        asked = len(server.log.ranges)
        assert read(opened(first_shard(server), tmp_path), 0, 50_000) == CONTENT[:50_000]
        assert len(server.log.ranges) == asked + 2
        assert [record.message.partition("/")[2] != "" for record in caplog.records].count(True) == 2
        assert "is damaged" in caplog.text


@pytest.mark.parametrize("kept", [4128, 4096, 100, 0])
def test_a_block_that_is_damaged_after_it_was_read_is_noticed_when_it_is_read_again(tmp_path, caplog, kept):
    with RangeServer(FILES) as server:
        files = opened(first_shard(server), tmp_path)
        read(files, 0, 50_000)
        block = sorted((tmp_path / "blocks").rglob("*.block"))[1]
        with block.open("r+b") as file:
            file.seek(17)
            file.write(bytes([CONTENT[4096 + 17] ^ 1]))
            file.truncate(kept)
        assert read(files, 0, 50_000) == CONTENT[:50_000]
        assert "is damaged" in caplog.text


def test_a_block_is_hashed_once_for_all_its_reads(tmp_path, monkeypatch):
    with RangeServer(FILES) as server:
        read(opened(first_shard(server), tmp_path), 0, 50_000)
        files, hashed = opened(first_shard(server), tmp_path), []
        sha256 = hashlib.sha256
        monkeypatch.setattr("corpus.remote.blocks.hashlib.sha256", lambda data=b"": hashed.append(data) or sha256(data))
        for _ in range(3):
            read(files, 0, 4096)
    assert [len(data) for data in hashed if len(data) == BLOCK] == [BLOCK]


def test_the_store_keeps_to_its_bound_and_every_read_is_right(tmp_path):
    bound = 16 * 2 * REQUEST
    content = np.random.default_rng(3).bytes(3 * bound)
    with RangeServer({"big.bin": content}) as server:
        files = opened(f"{server.url}/big.bin", tmp_path, max_bytes=bound, in_flight=2)
        store = BlockStore(tmp_path / "blocks", max_bytes=bound)
        files.expect(0, len(content))
        for start in range(0, len(content), 50_000):
            assert read(files, start, min(start + 50_000, len(content))) == content[start : start + 50_000]
            assert sum(size for _, size, _ in store._entries()) <= bound
        assert server.log.bytes_sent == len(content), "what was fetched ahead went before it was read"
        assert read(files, 0, 1000) == content[:1000]


def present(cache):
    return [path for path in (cache / "blocks").rglob("*.block") if path.exists()]


def test_room_is_made_by_the_blocks_that_came_or_were_announced_longest_ago(tmp_path):
    store = BlockStore(tmp_path, max_bytes=5 * 132)
    blocks = [Block("file", number, 100 * number, 100 * (number + 1)) for number in range(5)]
    for block in blocks:
        store.put(block, bytes(100))
        time.sleep(0.01)
    time.sleep(0.01)
    store.find(blocks[1])
    store.renew(blocks[0])
    store.make_room(2 * 132)
    assert [block.number for block in blocks if store.holds(block)] == [0, 3, 4]


def test_what_an_earlier_run_left_is_renewed_as_fetching_ahead_passes_it(tmp_path):
    bound = 16 * 2 * REQUEST
    content = np.random.default_rng(4).bytes(2 * bound)
    with RangeServer({"big.bin": content}) as server:
        earlier = opened(f"{server.url}/big.bin", tmp_path, max_bytes=bound, in_flight=2)
        stretch = slice(bound // 4, bound // 2)
        read(earlier, stretch.start, stretch.stop)
        files = opened(f"{server.url}/big.bin", tmp_path, max_bytes=bound, in_flight=2)
        files.expect(0, len(content))
        for start in range(0, len(content), 50_000):
            assert read(files, start, min(start + 50_000, len(content))) == content[start : start + 50_000]
        assert server.log.bytes_sent == len(content)


def test_what_killed_writers_left_goes_when_room_is_made(tmp_path):
    store = BlockStore(tmp_path, max_bytes=1 << 20)
    store.put(Block("file", 0, 0, 10), bytes(10))
    old, young = (tmp_path / "file" / f".aside-00000{number}.block-abc" for number in (1, 2))
    old.write_bytes(bytes(10))
    young.write_bytes(bytes(10))
    os.utime(old, (0, 0))
    store.make_room(10)
    assert (old.exists(), young.exists()) == (False, True)
    assert store.holds(Block("file", 0, 0, 10))


def test_a_bound_too_small_for_what_is_in_flight_is_refused_with_both(tmp_path, well_behaved):
    with pytest.raises(UserError, match=r"may hold .* GiB, but 4 requests at a time need"):
        opened(first_shard(well_behaved), tmp_path, max_bytes=REQUEST)


def process(server, cache, first=0, stop=700_001):
    script = Path(__file__).with_name("fetching_process.py")
    command = [sys.executable, str(script), first_shard(server), str(cache), str(first), str(stop)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_killed_and_started_again_it_fetches_no_whole_block_twice(tmp_path):
    slow = threading.Event()
    with RangeServer(FILES, gate=lambda entry: None if slow.is_set() else time.sleep(0.05)) as server:
        killed = process(server, tmp_path)
        wait_until(lambda: len(present(tmp_path)) >= 20)
        killed.kill()
        killed.communicate()
        kept = {(path.parent.name, path.name) for path in present(tmp_path)}
        sent_before = server.log.bytes_sent
        server.log.ranges.clear()
        slow.set()
        again = process(server, tmp_path)
        output, errors = again.communicate(timeout=60)
        assert again.returncode == 0, errors
        assert output == hashlib.sha256(CONTENT).hexdigest()
        files = opened(first_shard(server), tmp_path)
        asked_again = {
            (part.block.file, f"{part.block.number:06d}.block")
            for path, start, stop, _ in server.log.ranges
            for part in files._parts(files._listing.files, *placed(path, start, stop))
        }
        assert not asked_again & kept
        in_flight = 4 * BLOCK + 4 * (1 << 16)  # a block that was begun, and what lay in buffers, on each connection
        assert sent_before + server.log.bytes_sent <= len(CONTENT) + in_flight
        assert not list((tmp_path / "blocks").rglob(".aside*"))


def placed(path, start, stop):
    """Positions in all the files together of a range of one of them."""
    offset = 300_000 * int(path.split("-")[1])
    return offset + start, offset + stop


def test_two_processes_share_a_cache_and_fetch_no_block_twice(tmp_path):
    with RangeServer(FILES, gate=lambda entry: time.sleep(0.01)) as server:
        both = [process(server, tmp_path), process(server, tmp_path)]
        for one in both:
            output, errors = one.communicate(timeout=120)
            assert one.returncode == 0, errors
            assert output == hashlib.sha256(CONTENT).hexdigest()
        assert server.log.bytes_sent == len(CONTENT)


def test_what_lies_beside_the_announced_bytes_is_read_too(tmp_path):
    """Their groups are the same, the announced part of it is not all."""
    with RangeServer(FILES) as server:
        files = opened(first_shard(server), tmp_path)
        files.expect(3 * BLOCK, 6 * BLOCK)
        assert read(files, 0, 100) == CONTENT[:100]
        assert read(files, 7 * BLOCK, 7 * BLOCK + 9) == CONTENT[7 * BLOCK : 7 * BLOCK + 9]
        assert read(files, 2 * BLOCK, 8 * BLOCK) == CONTENT[2 * BLOCK : 8 * BLOCK]


def test_a_block_that_cannot_be_written_whole_is_not_there(tmp_path):
    store = BlockStore(tmp_path, max_bytes=1 << 30)
    block = Block("file", 0, 0, 40 * KIB)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (30 * KIB, hard))
    try:
        with pytest.raises(OSError, match="File too large"):
            store.put(block, bytes(40 * KIB))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not store.holds(block)
    assert store.find(block) is None


def test_a_thread_that_cannot_be_started_is_told_and_forgotten(tmp_path, monkeypatch):
    start = threading.Thread.start

    def no_thread(self):
        if self._target == files._run:
            raise RuntimeError("can't start new thread")
        start(self)

    with RangeServer(FILES) as server:
        files = opened(first_shard(server), tmp_path)
        with monkeypatch.context() as patched:
            patched.setattr(threading.Thread, "start", no_thread)
            with pytest.raises(RuntimeError, match="can't start new thread"):
                files.read(0, memoryview(bytearray(10)))
        assert read(files, 0, 10) == CONTENT[:10]


def test_reading_in_another_process_than_the_opening_one_is_refused(tmp_path, monkeypatch):
    with RangeServer(FILES) as server:
        files = opened(first_shard(server), tmp_path)
        here = os.getpid()
        monkeypatch.setattr("corpus.remote.files.os.getpid", lambda: here + 1)
        with pytest.raises(UserError, match=f"was opened in process {here} and is read in {here + 1}"):
            read(files, 0, 10)


def test_a_cost_is_told_though_the_kept_listing_is_damaged_or_of_another_size(tmp_path):
    with RangeServer(FILES) as server:
        url = first_shard(server)
        with pytest.raises(UserError, match="expected 900000"):
            read(opened(url, tmp_path, size=900_000), 0, 10)
        assert opened(url, tmp_path, size=900_000).cost(800_000, 900_000).needed_bytes == 100_000
        (listing,) = (tmp_path / "listings").iterdir()
        listing.write_text("{")
        assert opened(url, tmp_path, size=700_001).cost(0, 1000).requests == 1
        assert read(opened(url, tmp_path), 0, 10) == CONTENT[:10]


def test_several_threads_may_read_at_once(tmp_path):
    with RangeServer(FILES) as server:
        files = opened(first_shard(server), tmp_path)
        found = {}

        def reader(number):
            start = 37_000 * number
            found[number] = read(files, start, start + 90_000) == CONTENT[start : start + 90_000]

        threads = [threading.Thread(target=reader, args=(number,)) for number in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert found == dict.fromkeys(range(16), True)
        assert server.log.bytes_sent <= len(CONTENT)


def test_what_a_read_will_cost_is_known_before_anything_is_fetched(tmp_path, well_behaved):
    with RangeServer(FILES) as server:
        files = opened(first_shard(server), tmp_path, size=len(CONTENT))
        cost = files.cost(0, 300_000)
        assert (cost.needed_bytes, cost.fetch_bytes, cost.requests) == (300_000, 74 * BLOCK, 5)
        assert not server.log.heads
        assert not server.log.ranges
        read(files, 0, 2 * BLOCK)
        assert files.cost(0, 300_000).fetch_bytes == 300_000 - 2 * BLOCK
        read(files, 0, 300_000)
        assert (files.cost(0, 300_000).fetch_bytes, files.cost(0, 300_000).requests) == (0, 0)
