import hashlib
from pathlib import Path

import numpy as np
import pytest

from corpus import Segment, combined_fingerprint, fingerprint, open_corpus
from corpus.indexed_dataset import write_indexed_dataset
from foundation import UserError


@pytest.fixture
def counted(tmp_path):
    """Forty rows of five tokens that count from 0: row r holds 5r .. 5r + 4."""
    path = tmp_path / "counted.bin"
    np.arange(200, dtype=np.uint16).tofile(path)
    return open_corpus(path, row_tokens=5)


def test_rows_are_the_bytes_of_the_file_in_order(counted):
    assert (counted.num_rows, counted.row_tokens) == (40, 5)
    np.testing.assert_array_equal(counted.rows(7, 9), [[35, 36, 37, 38, 39], [40, 41, 42, 43, 44]])


def test_rows_are_a_copy_that_may_be_written_to(counted):
    counted.rows(0, 1)[:] = 9
    assert counted.rows(0, 1)[0, 0] == 0


def test_step_k_is_rows_k_times_the_batch_onwards(counted):
    segment = Segment(counted, step=3, steps=2, sequences_per_step=4, rows_before=12)
    np.testing.assert_array_equal(segment.batch(3), np.arange(60, 80).reshape(4, 5))
    np.testing.assert_array_equal(segment.batch(4), np.arange(80, 100).reshape(4, 5))
    assert (segment.first_row(3), segment.stop_row, segment.stop) == (12, 20, 5)


def test_smaller_batches_begin_where_the_checkpoint_stopped_reading(counted):
    segment = Segment(counted, step=3, steps=4, sequences_per_step=2, rows_before=12)
    np.testing.assert_array_equal(segment.batch(3), counted.rows(12, 14))
    np.testing.assert_array_equal(segment.batch(6), counted.rows(18, 20))
    with pytest.raises(UserError, match="it ends at step 17"):
        Segment(counted, step=3, steps=15, sequences_per_step=2, rows_before=12)


def test_an_index_of_another_type_is_refused(tmp_path):
    write_indexed_dataset(tmp_path / "wide", [np.arange(9)] * 4, dtype=np.int32)
    with pytest.raises(UserError, match="tokens are int32, expected uint16"):
        open_corpus(tmp_path / "wide.bin", row_tokens=9)


def test_steps_beyond_the_corpus_are_refused_with_the_last_step(counted):
    Segment(counted, step=8, steps=2, sequences_per_step=4, rows_before=32)
    with pytest.raises(UserError, match=r"needs rows up to 44, but .* holds 40: it ends at step 10"):
        Segment(counted, step=8, steps=3, sequences_per_step=4, rows_before=32)
    for wrong in ({"steps": 0}, {"step": -1}, {"sequences_per_step": 0}):
        with pytest.raises(UserError, match="a run begins at step 0 or later, makes at least one update"):
            Segment(counted, **{"step": 8, "steps": 1, "sequences_per_step": 4, "rows_before": 32} | wrong)


def test_a_checkpoint_that_has_seen_more_rows_than_there_are_is_told_so(counted):
    with pytest.raises(UserError, match=r"step=1 has been trained on 1024 rows, but .* holds 40; .*sequences_per_step"):
        Segment(counted, step=1, steps=1, sequences_per_step=4, rows_before=1024)


def test_rows_that_are_not_there_are_refused(counted):
    for start, stop in [(39, 41), (-1, 2), (3, 2)]:
        with pytest.raises(UserError, match=r"holds rows \[0, 40\)"):
            counted.rows(start, stop)


def test_a_file_that_is_no_whole_number_of_rows_is_refused(tmp_path):
    np.arange(7, dtype=np.uint16).tofile(tmp_path / "cut.bin")
    with pytest.raises(UserError, match=r"14 bytes.*5 uint16 tokens \(10 bytes\)"):
        open_corpus(tmp_path / "cut.bin", row_tokens=5)
    with pytest.raises(UserError, match="there is no corpus at"):
        open_corpus(tmp_path / "missing.bin", row_tokens=5)


def test_an_index_of_other_rows_is_refused(tmp_path):
    write_indexed_dataset(tmp_path / "documents", [np.arange(4), np.arange(6)], dtype=np.uint16)
    with pytest.raises(UserError, match="2 sequences of 4 to 6 tokens, together 10, expected rows of 5"):
        open_corpus(tmp_path / "documents.bin", row_tokens=5)


def test_the_fingerprint_is_the_hash_of_the_bytes_in_the_file(counted):
    expected = hashlib.sha256(Path(counted.location).read_bytes()[2 * 5 * 4 : 2 * 5 * 8]).hexdigest()
    assert fingerprint(counted.rows(4, 8)) == expected


def test_a_swapped_token_changes_the_fingerprint_of_its_step_and_segment(counted):
    batches = [counted.rows(0, 4), counted.rows(4, 8)]
    changed = [batches[0].copy(), batches[1].copy()]
    changed[1][2, 3] += 1
    before, after = ([fingerprint(batch) for batch in rows] for rows in (batches, changed))
    assert before[0] == after[0]
    assert before[1] != after[1]
    assert combined_fingerprint(before) != combined_fingerprint(after)
