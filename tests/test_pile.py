import numpy as np
import pytest

from corpus import Segment, data_plan, open_pile
from corpus.indexed_dataset import write_indexed_dataset
from corpus.pile import NUM_ROWS, NUM_SAMPLES
from corpus.plan import plan_text, time_text
from foundation import UserError, size_text


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


def test_the_counts_are_those_of_gpt_neox():
    assert NUM_ROWS == 146_432_000
    assert NUM_SAMPLES == -(-NUM_ROWS * 1005 // 1000)


@pytest.mark.parametrize(("deduped", "name"), [(True, "deduped"), (False, "standard")])
def test_the_published_orders_are_known_without_asking_the_hub(deduped, name):
    pile = open_pile(deduped=deduped)
    assert pile.location == f"hf://datasets/EleutherAI/pile-{name}-pythia-preshuffled@main"
    assert (pile.num_rows, pile.row_tokens) == (NUM_ROWS, 2049)
    assert pile.layouts == (2 if deduped else 1)


def test_the_last_seven_percent_is_42_gb(tmp_path):
    segment = Segment(open_pile(deduped=True), 133_000, 10_000, 1024, rows_before=133_000 * 1024)
    cost = segment.corpus.cost(segment.first_row(133_000), segment.stop_row)
    assert cost.needed_bytes == 41_963_520_000
    assert 0 <= cost.fetch_bytes - cost.needed_bytes <= 2 * (8 << 20)
    assert cost.requests in (313, 314)
    lines = dict(data_plan(segment))
    assert lines["data"] == "41.96 GB"
    assert lines["to fetch"].endswith("by 313 requests")
    assert "56 min at 100 Mbit/s" in lines["time"]
    assert lines["steps"] == "133,000 to 142,999, 1,024 rows each"
    assert lines["rows"] == "136,192,000 to 146,431,999 (both included), 2,049 tokens each"
    assert max(map(len, plan_text(data_plan(segment)).splitlines())) <= 80 or len(str(tmp_path)) > 40


def test_a_cache_that_is_smaller_than_the_segment_is_told():
    segment = Segment(open_pile(deduped=True, cache_gib=8), 113_000, 30_000, 1024, rows_before=113_000 * 1024)
    assert any("the cache is smaller than the segment" in text for _, text in data_plan(segment))


def test_the_suite_ends_at_step_143000():
    with pytest.raises(UserError, match="it ends at step 143000"):
        Segment(open_pile(deduped=True), 142_000, 1001, 1024, rows_before=142_000 * 1024)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"deduped": True, "seed": 3}, "seeds 1 to 9 are of the standard Pile"),
        ({"deduped": False, "seed": 10}, "an order that no public model read"),
        ({"deduped": False, "seed": 3}, "set corpus.documents to the path"),
        ({"deduped": False, "documents": "x"}, "are for seeds 1 to 9"),
        ({"deduped": True, "maps": "x"}, "are for seeds 1 to 9"),
        ({"deduped": False, "seed": 1, "revision": "main"}, "are for seed 0"),
        ({"deduped": True, "cache_gib": 1}, "may hold 1 GiB, but 4 requests at a time need 2 GiB"),
        ({"deduped": True, "location": "ftp://somewhere/else"}, "is not understood"),
    ],
)
def test_orders_that_there_are_not_are_refused_with_the_remedy(options, message):
    with pytest.raises(UserError, match=message):
        open_pile(**options)


def test_another_corpus_in_the_place_of_the_pile_is_refused_with_both_counts(tmp_path):
    np.arange(2049 * 3, dtype=np.uint16).tofile(tmp_path / "small.bin")
    with pytest.raises(UserError, match="holds 3 rows of 2049 tokens, expected 146432000"):
        open_pile(deduped=True, location=str(tmp_path / "small.bin"))


def test_a_seed_reads_the_unshuffled_corpus_in_its_own_order(tmp_path, monkeypatch):
    monkeypatch.setattr("corpus.pile.NUM_SAMPLES", 6)
    rng = np.random.default_rng(0)
    write_indexed_dataset(tmp_path / "text", [rng.integers(0, 50277, 2000) for _ in range(10)], dtype=np.uint16)
    orders = [open_pile(deduped=False, seed=seed, documents=str(tmp_path / "text")) for seed in (1, 2)]
    assert [order.row_tokens for order in orders] == [2049, 2049]
    assert not np.array_equal(orders[0].rows(0, 6), orders[1].rows(0, 6))
    assert orders[0].identity()["order"] == "GPT-NeoX's order of 6 samples, seed 1"


def test_documents_that_are_not_the_piles_are_refused_before_memory_is_taken(tmp_path):
    write_indexed_dataset(tmp_path / "text", [np.arange(5000)], dtype=np.uint16)
    with pytest.raises(
        UserError, match=r"has 5000 tokens, which 147164160 rows would read 6.03e\+07 times, expected 2 at"
    ):
        open_pile(deduped=False, seed=1, documents=str(tmp_path / "text"))


def test_maps_on_a_hub_that_cannot_be_reached_end_in_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr("corpus.pile.NUM_SAMPLES", 2)
    write_indexed_dataset(tmp_path / "text", [np.arange(5000)], dtype=np.uint16)
    maps = "hf://datasets/EleutherAI/pile-preshuffled-seeds"
    with pytest.raises(UserError, match=r"cannot be fetched .* leave corpus.maps out to build the maps"):
        open_pile(deduped=False, seed=1, documents=str(tmp_path / "text"), maps=maps)
    with pytest.raises(UserError, match="take a directory or hf://datasets"):
        open_pile(deduped=False, seed=1, documents=str(tmp_path / "text"), maps="hf://models/x/y")


def test_sizes_and_times_are_told_in_the_unit_that_suits_them():
    assert [size_text(n) for n in (12, 4_196, 4_196_352, 41_963_520_000, 6e14)] == [
        "12 bytes",
        "4.196 kB",
        "4.196 MB",
        "41.96 GB",
        "600 TB",
    ]
    assert [time_text(s) for s in (7, 119, 3357, 41_000)] == ["7 s", "119 s", "56 min", "11 h"]
