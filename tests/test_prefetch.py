import threading

import pytest

from test_loop import batch_at, run, start  # noqa: F401  # `start` is a fixture
from training import read_journal
from training.prefetch import prefetched


def test_every_step_is_made_once_and_the_next_one_beside_the_caller():
    made, second = [], threading.Event()

    def make(step):
        made.append(step)
        if step == 6:
            second.set()
        return 10 * step

    with prefetched(make, stop=8) as answer:
        assert answer(5) == 50
        assert second.wait(10), "step 6 is made before it is asked for"
        assert [answer(6), answer(7)] == [60, 70]
    assert made == [5, 6, 7], "none behind the last"


def test_an_error_is_raised_at_its_own_step_and_never_where_that_is_not_asked_for():
    def make(step):
        if step == 6:
            raise KeyError(step)
        return step

    with prefetched(make, stop=8) as answer:
        assert answer(5) == 5
        with pytest.raises(KeyError, match="6"):
            answer(6)
    with prefetched(make, stop=8) as answer:
        assert answer(5) == 5


def test_no_thread_outlives_the_block():
    before = threading.active_count()
    with pytest.raises(KeyboardInterrupt), prefetched(lambda step: step, stop=9) as answer:
        answer(3)
        raise KeyboardInterrupt
    assert threading.active_count() == before


def test_the_journal_says_how_long_a_batch_was_waited_for(start, tmp_path):  # noqa: F811
    held = threading.Event()

    def slow_first(step):
        if step == 3:
            held.wait(0.05)
        return batch_at(step)

    run(start(), tmp_path, stop=5, batch_at=slow_first)
    stalls = [line["data_stall_s"] for line in read_journal(tmp_path / "arm.jsonl")]
    assert stalls[0] >= 0.05
    assert all(stall >= 0 for stall in stalls)
