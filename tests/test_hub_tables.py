"""Tables of datasets on the hub, played by a server on this machine."""

import io

import pandas as pd
import pytest

from eval.items import load_records
from foundation import UserError
from foundation.hub import forget_listings
from foundation.web import forget_hosts
from range_server import RangeServer, be_impatient, be_the_hub

LOCATION = "hf://datasets/somebody/sentences"
TEXTS = ["One line.", "NA", " 007 ", "He said \u201cno\u201d."]


def parquet(texts):
    buffer = io.BytesIO()
    pd.DataFrame({"text": texts}).to_parquet(buffer)
    return buffer.getvalue()


WHOLE = parquet(TEXTS)
HALVES = parquet(TEXTS[:2]), parquet(TEXTS[2:])
OTHER = parquet(["another split"])


@pytest.fixture
def hub(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    be_impatient(monkeypatch, tries=4, first_contact_tries=2)
    with RangeServer({}) as server:
        be_the_hub(monkeypatch, server.url)
        yield server


def texts(config="english", split="test", location=LOCATION):
    """The texts, as a process reads them that has asked nobody yet."""
    forget_listings()
    forget_hosts()
    return load_records(location, config=config, split=split)["text"].tolist()


def described(**config):
    return [{"config_name": "french", "data_files": "french.csv"}, {"config_name": "english", **config}]


@pytest.mark.parametrize(
    ("files", "configs"),
    [
        ({"english/test-00000-of-00001.parquet": WHOLE, "english/train-00000-of-00001.parquet": OTHER}, None),
        ({"english/test-00000-of-00002.parquet": HALVES[0], "english/test-00001-of-00002.parquet": HALVES[1]}, None),
        ({"data/test-00000-of-00001.parquet": WHOLE, "data/testing-00000-of-00001.parquet": OTHER}, None),
        ({"test.parquet": WHOLE, "train.parquet": OTHER}, None),
        (
            {"a/b-1.parquet": HALVES[0], "a/b-2.parquet": HALVES[1], "c.parquet": OTHER},
            described(data_files=[{"split": "train", "path": "c.parquet"}, {"split": "test", "path": "a/b-*"}]),
        ),
        (
            {"in/x.parquet": HALVES[0], "in/y.parquet": HALVES[1], "z.parquet": OTHER},
            described(data_dir="in", data_files=[{"split": "test", "path": ["x.parquet", "y.parquet"]}]),
        ),
    ],
)
def test_a_split_is_found_by_the_card_or_by_the_names_that_the_hubs_tools_give(hub, files, configs):
    hub.publish_tables("somebody/sentences", {"README.md": b"-", **files}, configs=configs)
    assert texts() == TEXTS


def test_where_neither_tells_the_hubs_own_copy_is_read(hub):
    hub.publish_tables("somebody/sentences", {"sentences.py": b"a script", "all.zip": b"-"})
    hub.publish_tables(
        "somebody/sentences",
        {"english/test/0000.parquet": WHOLE, "english/train/0000.parquet": OTHER},
        revision="refs/convert/parquet",
    )
    assert texts() == TEXTS


def test_a_revision_may_be_named(hub):
    hub.publish_tables("somebody/sentences", {"test.parquet": OTHER})
    hub.publish_tables("somebody/sentences", {"test.parquet": WHOLE}, revision="v2")
    assert texts() == ["another split"]
    assert texts(location=f"{LOCATION}@v2") == TEXTS


@pytest.mark.parametrize("files", [{"sentences.py": b"a script"}, {"train.parquet": OTHER}])
def test_a_split_that_there_is_not_is_told_in_one_line(hub, files):
    hub.publish_tables("somebody/sentences", files)
    with pytest.raises(UserError, match="has no tables of the configuration english and the split test"):
        texts()


@pytest.mark.parametrize("failing", [429, 502, 0])
@pytest.mark.parametrize("storage_failing", [400, 403, 503, 0])
def test_a_hub_whose_every_answer_fails_once_gives_the_table(hub, failing, storage_failing):
    hub.publish_tables("somebody/sentences", {"test.parquet": WHOLE})
    hub.failing, hub.storage_failing = [failing], [storage_failing]
    assert texts() == TEXTS
    assert len(hub.log.failed) == 3  # the listing, the address of the file, and the file


def test_without_the_hub_a_table_that_came_once_is_read_and_one_that_did_not_is_told_soon(hub, caplog):
    hub.publish_tables("somebody/sentences", {"test.parquet": WHOLE})
    texts()
    hub.go_away()
    caplog.clear()
    with caplog.at_level("WARNING"):
        assert texts() == TEXTS
    assert not caplog.messages
    with pytest.raises(UserError, match=r"others cannot be loaded .*; connect once, or name a local file$"):
        texts(location="hf://datasets/somebody/others")
