import hashlib
import os
from dataclasses import replace
from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from eval.crows_pairs import FRENCH, ORIGINAL, REVISED, PairSet, load_pairs, requests_sha256
from eval.crows_pairs.differences import pair_kind
from eval.items import read_records
from foundation import SOURCES, Source, UserError, cache_directory
from foundation.hub import forget_listings
from invented_pairs import write
from range_server import RangeServer, be_impatient, be_the_hub

# sent_more, sent_less, direction, bias_type; the texts are what careless readers spoil
RECORDS = [
    ("He said “no”, loudly. ", "She said “no”, loudly. ", "stereo", "gender"),
    ('"Old" sailors\tcook.', '"Young" sailors\tcook.', "antistereo", "age"),
    ("NA", "null", "stereo", "race-color"),
    (" 007", "1.50", "stereo", "gender"),
    ("The cook’s boat.\u2028It sank.", "The cook's boat.\u2028It sank.", "antistereo", "gender"),
]
REQUESTS = (  # Random(42) puts pairs 3, 1, 2, 4, 0 in this order
    r'[["", " 007"], ["", "1.50"], ["", "\"Old\" sailors\tcook."], ["", "\"Young\" sailors\tcook."], '
    r'["", "NA"], ["", "null"], ["", "The cook\u2019s boat.\u2028It sank."], ["", "The cook' + "'"
    r's boat.\u2028It sank."], ["", "He said \u201cno\u201d, loudly. "], ["", "She said \u201cno\u201d, loudly. "]]'
)
SHA256 = hashlib.sha256(REQUESTS.encode()).hexdigest()
INVENTED = PairSet(
    name="invented",
    language="english",
    counts={"pairs": 5, "gender": 3, "antistereo": 2},
    requests_sha256={"pairs": SHA256},
    source=None,
)
HUB = "hf://datasets/nobody/invented-pairs"


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """A hub with the records, as parquet in the configuration of the language."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    be_impatient(monkeypatch)
    table = write(tmp_path / "p.parquet", RECORDS).read_bytes()
    with RangeServer({}) as server:
        server.publish_tables("nobody/invented-pairs", {"english/test-00000-of-00001.parquet": table})
        be_the_hub(monkeypatch, server.url)
        yield server


def test_the_hash_is_that_of_the_shuffled_requests_as_json(tmp_path):
    pairs = load_pairs(INVENTED, str(write(tmp_path / "pairs.tsv", RECORDS)))
    assert requests_sha256(pairs) == SHA256


@pytest.mark.parametrize(
    ("filename", "separator"),
    [("p.tsv", None), ("p.csv", ","), ("p.csv", "\t"), ("p.jsonl", None), ("p.parquet", None)],
)
def test_every_file_gives_the_same_texts_to_the_letter(tmp_path, filename, separator):
    pairs = load_pairs(INVENTED, str(write(tmp_path / filename, RECORDS, separator=separator)))
    assert pairs["example"].tolist() == [0, 1, 2, 3, 4]
    assert list(zip(pairs["sent_more"], pairs["sent_less"], pairs["direction"], strict=True)) == [
        record[:3] for record in RECORDS
    ]
    assert pairs["bias_type"].tolist() == ["gender", "age", "race_color", "gender", "gender"]


def test_the_hub_gives_the_same_texts_from_the_configuration_of_the_language(hub):
    assert load_pairs(INVENTED, HUB)["sent_more"].tolist() == [record[0] for record in RECORDS]
    with pytest.raises(UserError, match="no tables of the configuration french and the split test"):
        load_pairs(replace(INVENTED, language="french"), HUB)


def test_a_hub_out_of_reach_is_told_in_one_line_with_a_remedy(hub):
    hub.go_away()
    with pytest.raises(UserError, match=r"^hf://datasets/nobody/.*the connection failed.*or name a local file$"):
        load_pairs(INVENTED, HUB)


@pytest.mark.parametrize("served", [b"other pairs", None])
def test_where_its_own_address_fails_a_set_comes_from_the_hub(hub, monkeypatch, served):
    if served is not None:
        hub.files["/pairs.tsv"], hub.sizes["/pairs.tsv"] = served, len(served)
    source = Source("0" * 64, "CC0", None, "pairs.tsv", f"{hub.url}/pairs.tsv")
    monkeypatch.setitem(SOURCES, "invented", source)
    both = replace(INVENTED, source="invented", hub=HUB)
    assert load_pairs(both, None)["sent_more"].tolist() == [record[0] for record in RECORDS]
    forget_listings()
    hub.documents.clear()
    (cache_directory() / "hub").rename(cache_directory() / "elsewhere")
    with pytest.raises(
        UserError, match=r"invented cannot be fetched, and .* is not in the cache: .*; and the hub has no dataset"
    ):
        load_pairs(both, None)


def test_the_revised_set_has_two_routes():
    assert REVISED.source in SOURCES
    assert REVISED.hub == "hf://datasets/jannalu/crows_pairs_multilingual"


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)


@settings(deadline=None)
@given(st.lists(st.tuples(TEXTS, TEXTS, TEXTS, TEXTS), max_size=4), st.sampled_from([".tsv", ".csv", ".jsonl"]))
def test_any_text_comes_back_from_a_file_as_it_was(tmp_path_factory, records, suffix):
    file = write(tmp_path_factory.mktemp("records") / f"pairs{suffix}", records)
    found = read_records(file)
    assert [tuple(record)[1:] for record in found.itertuples(index=False)] == records


@pytest.mark.parametrize(
    "change",
    [
        lambda records: [(more.rstrip(), *rest) for more, *rest in records],
        lambda records: [records[1], records[0], *records[2:]],
        lambda records: [(less, more, *rest) for more, less, *rest in records],
    ],
    ids=["stripped", "in another order", "the sentences exchanged"],
)
def test_other_sentences_are_refused_with_both_hashes(tmp_path, change):
    file = write(tmp_path / "pairs.tsv", change(RECORDS))
    with pytest.raises(UserError, match=rf"requests \(pairs\) is [0-9a-f]{{64}}, expected {SHA256}; name a file"):
        load_pairs(INVENTED, str(file))


def test_other_counts_are_refused_with_both(tmp_path):
    file = write(tmp_path / "pairs.tsv", RECORDS[:-1])
    with pytest.raises(
        UserError,
        match=r"holds {'pairs': 4, 'gender': 2, 'antistereo': 1}, expected {'pairs': 5, 'gender': 3, 'antistereo': 2}",
    ):
        load_pairs(INVENTED, str(file))


def test_a_set_is_not_taken_for_another(tmp_path):
    file = write(tmp_path / "pairs.csv", RECORDS)
    for pair_set in (ORIGINAL, REVISED, FRENCH):
        with pytest.raises(UserError, match=f"for {pair_set.name}; name a file of this set"):
            load_pairs(pair_set, str(file))


@pytest.mark.parametrize(
    ("filename", "content", "message"),
    [
        ("pairs.txt", "A.\n", r"the suffix '.txt', expected one of .csv, .tsv, .jsonl, .parquet"),
        ("pairs.tsv", "sent_more\tsent_less\nA.\n", "record 1 has 1 fields, the header 2"),
        ("pairs.tsv", 'sent_more\tsent_less\n"A.\tB.\n', "unexpected end of data"),
        ("pairs.tsv", "sent_more\tsent_less\nA.\tB.\n", "but not stereo_antistereo, bias_type"),
        ("pairs.jsonl", '{"sent_more": \n', "cannot be read as jsonl"),
        ("pairs.parquet", "no parquet", "cannot be read as parquet"),
        (
            "pairs.jsonl",
            '{"sent_more": null, "sent_less": "B.", "stereo_antistereo": "stereo", "bias_type": "age"}\n',
            "holds values that are no text",
        ),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_in_one_line(tmp_path, filename, content, message):
    file = tmp_path / filename
    file.write_text(content)
    with pytest.raises(UserError, match=message) as error:
        load_pairs(INVENTED, str(file))
    assert "\n" not in str(error.value)


def test_a_missing_file_and_a_set_without_a_source_are_named(tmp_path):
    with pytest.raises(UserError, match=r"there is no file .*missing\.tsv"):
        load_pairs(REVISED, str(tmp_path / "missing.tsv"))
    with pytest.raises(UserError, match="crows_pairs_french is fetched from nowhere"):
        load_pairs(FRENCH, None)


def cached(source):
    return cache_directory() / "sources" / SOURCES[source].sha256[:16] / SOURCES[source].filename


def test_the_revised_set_is_the_one_that_lm_eval_asked_about():
    variable = "PYTHIA_COUNTERFACTUAL_CROWS_REVISED"
    file = Path(os.environ.get(variable, cached("crows_pairs_revised")))
    if not file.is_file():
        pytest.skip(f"no revised CrowS-Pairs in the cache, and {variable} names none")
    pairs = load_pairs(REVISED, str(file))
    assert requests_sha256(pairs) == "ee3ce1ddb8071d4189e5b06e7f3c618a434221ac52935d0f434c4d183f01458a"
    gender = pairs[pairs["bias_type"] == "gender"]
    assert requests_sha256(gender) == "2bf62b7cc678f64ffad4a6e6715ff76a2b984bfe8d1165da4b76b3b4dfafb2f9"
    assert pairs["bias_type"].value_counts().to_dict() == {
        "race_color": 508,
        "gender": 320,
        "nationality": 216,
        "socioeconomic": 190,
        "religion": 111,
        "sexual_orientation": 93,
        "age": 91,
        "physical_appearance": 72,
        "disability": 65,
        "autre": 11,
    }
    assert gender["direction"].value_counts().to_dict() == {"stereo": 217, "antistereo": 103}
    assert pairs["sent_more"].str.endswith(" ").sum() == pairs["sent_less"].str.endswith(" ").sum() == 153
    kinds = [pair_kind(more, less) for more, less in zip(gender["sent_more"], gender["sent_less"], strict=True)]
    assert {kind: kinds.count(kind) for kind in kinds} == {"pronouns_only": 42, "pronoun_balance": 72, "other": 206}


def test_the_original_set_from_the_cache_is_the_published_one():
    if not cached("crows_pairs").is_file():
        pytest.skip("no original CrowS-Pairs in the cache")
    pairs = load_pairs(ORIGINAL, None)
    gender = pairs[pairs["bias_type"] == "gender"]
    assert gender["direction"].value_counts().to_dict() == {"stereo": 159, "antistereo": 103}
    kinds = [pair_kind(more, less) for more, less in zip(gender["sent_more"], gender["sent_less"], strict=True)]
    assert {kind: kinds.count(kind) for kind in kinds} == {"pronouns_only": 41, "pronoun_balance": 72, "other": 149}
