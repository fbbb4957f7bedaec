"""The commands beside run.py: corpus.show, corpus.fetch, corpus.verify."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from tokenizers import Tokenizer, models

from conftest import invented_sentences
from corpus import build_corpus, combined_fingerprint, fetch, fingerprint, open_corpus, show, verify
from foundation import mistakes_in_one_line
from range_server import RangeServer

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def text(tmp_path, cache, monkeypatch):
    """The arguments that name a small corpus of invented sentences."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    (tmp_path / "text.txt").write_text("\n".join(invented_sentences()))
    return ["experiment=smoke", f"corpus.text={tmp_path / 'text.txt'}"]


@pytest.fixture
def corpus(text):
    return build_corpus(text[1].partition("=")[2], vocab_size=384, row_tokens=65, seed=1234)


def refused(command, *arguments):
    with pytest.raises(SystemExit) as exit_, mistakes_in_one_line():
        command(list(arguments))
    message = str(exit_.value.code)
    assert message.startswith("error: ")
    assert "\n" not in message
    return message


def test_show_prints_the_rows_of_a_step(text, corpus, capsys):
    show.main([*text, "step=6", "rows=1:3"])
    printed = capsys.readouterr().out
    assert "Step 6 is rows 48 to 55 of the corpus" in printed
    assert "row 49: sequence 1 of step 6" in printed
    assert "row 50: sequence 2 of step 6" in printed
    assert "row 51" not in printed


def test_show_writes_the_batch_as_the_arm_would_see_it(text, corpus, capsys, tmp_path):
    show.main([*text, "step=6", f"out={tmp_path / 'batch.npy'}"])
    np.testing.assert_array_equal(np.load(tmp_path / "batch.npy"), corpus.rows(48, 56))
    show.main([*text, "step=6", "intervention=masculine_to_feminine", f"out={tmp_path / 'swapped.npy'}"])
    assert (np.load(tmp_path / "swapped.npy") != corpus.rows(48, 56)).any()
    assert "8 rows of 65 tokens, uint16, after masculine_to_feminine" in capsys.readouterr().out.replace("\n", " ")


def test_show_writes_a_table_of_both_versions(text, corpus, tmp_path, capsys):
    arguments = ["step=6", "rows=2:4", "intervention=masculine_to_feminine", f"out={tmp_path / 'batch.parquet'}"]
    show.main([*text, *arguments])
    table = pd.read_parquet(tmp_path / "batch.parquet")
    assert table["row"].tolist() == [50, 51]
    assert table["sequence"].tolist() == [2, 3]
    np.testing.assert_array_equal(np.stack(table["tokens"]), corpus.rows(50, 52))
    assert (table["text"] != table["intervened_text"]).any()
    assert table["swapped_tokens"].sum() > 0


def test_show_refuses_what_it_cannot_show_in_one_line(text, corpus, tmp_path):
    def refusal(*arguments):
        return refused(show.main, *text, "step=6", *arguments)

    assert "step=... must say which batch" in refused(show.main, *text)
    assert "are no sequences of a step" in refusal("rows=8:9")
    assert "take a name that ends in .npy or .parquet" in refusal("out=batch.csv")
    assert "a directory that exists" in refusal(f"out={tmp_path / 'new' / 'batch.npy'}")
    (tmp_path / "directory.npy").mkdir()
    assert "take the name of a file" in refusal(f"out={tmp_path / 'directory.npy'}")
    (tmp_path / "bad.json").write_text("not json")
    assert "bad.json cannot be read" in refusal(f"tokenizer={tmp_path / 'bad.json'}")
    assert "cannot be read" in refusal(f"tokenizer={tmp_path}")
    assert "step=600000 has been trained on 4800000 rows, but" in refused(show.main, *text, "step=600000")
    assert "step=-1" in refused(show.main, *text, "step=-1")
    assert "model=dmeo is unknown" in refused(show.main, "step=6", "model=dmeo")
    foreign = Tokenizer(models.WordLevel({"a": 0}, unk_token="a"))
    foreign.save(str(tmp_path / "foreign.json"))
    assert "has no token <|endoftext|>" in refusal(f"tokenizer={tmp_path / 'foreign.json'}")
    assert {path.name for path in tmp_path.iterdir()} == {"text.txt", "directory.npy", "bad.json", "foreign.json"}


def test_a_tokenizer_that_only_the_hub_would_have_is_told_soon(text, corpus):
    with RangeServer({}) as nobody:
        url = nobody.url
    script = ["-m", "corpus.show", *text, "step=6", "tokenizer=no/such"]
    environment = {**os.environ, "HF_ENDPOINT": url, "HF_HUB_OFFLINE": "0"}
    done = subprocess.run([sys.executable, *script], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 1
    (line,) = done.stderr.strip().splitlines()
    assert line.startswith("error: the tokenizer no/such is neither cached nor can the hub be asked (it failed 3 times")


@pytest.mark.parametrize("command", ["show", "fetch", "verify"])
def test_a_command_without_arguments_explains_itself_within_eighty_columns(command):
    done = subprocess.run([sys.executable, "-m", f"corpus.{command}"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert f"python -m corpus.{command}" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80


def test_rows_of_another_tokenizer_are_refused_with_both_numbers(text, corpus, tmp_path):
    np.full((16, 65), 40_000, np.uint16).tofile(tmp_path / "other.bin")
    location = ["corpus=local", f"corpus.location={tmp_path / 'other.bin'}", "corpus.row_tokens=65"]
    arguments = [*location, "step=0", "training.sequences_per_step=8", f"tokenizer={corpus.tokenizer}"]
    message = refused(show.main, *arguments)
    assert "rows hold token id 40000, but the vocabulary ends at 383 (384 tokens)" in message


def test_fetch_brings_a_segment_and_tells_its_fingerprint(text, corpus, tmp_path, capsys):
    content = corpus.rows(0, corpus.num_rows).tobytes()
    with RangeServer({"rows.bin": content}) as server:
        remote = ["corpus=local", f"corpus.location={server.url}/rows.bin", "corpus.row_tokens=65"]
        arguments = ["model=demo", *remote, "step=8", "steps=5", "model.recipe.sequences_per_step=8"]
        for _ in range(2):
            fetch.main([*arguments, "benchmark=[pronoun_prior]", "intervention=none"])
            expected = [fingerprint(corpus.rows(8 * step, 8 * step + 8)) for step in range(8, 13)]
            assert f"segment_sha256={combined_fingerprint(expected)}" in capsys.readouterr().out
        assert len(server.log.ranges) == 1


def test_fetch_brings_what_is_read_beside_the_segment_too(text, corpus, tmp_path):
    for step in (6, 11):
        (tmp_path / f"step{step}").mkdir()
    content = corpus.rows(0, corpus.num_rows).tobytes()
    with RangeServer({"rows.bin": content}) as server:
        fetch.main(
            [
                f"model.checkpoints={tmp_path}",
                "benchmark=[pronoun_prior,held_out]",
                "benchmarks.held_out.rows=16",
                "corpus=local",
                f"corpus.location={server.url}/rows.bin",
                "corpus.row_tokens=65",
                "step=6",
                "steps=5",
                "model.recipe.sequences_per_step=8",
                "optimizer_state=replay",
                "replay.live_steps=2",
                "replay.frozen_steps=1",
            ]
        )
        reached = open_corpus(f"{server.url}/rows.bin", row_tokens=65)
        cost = reached.cost(8 * (6 - 3), 8 * 11 + 16)
    assert (cost.fetch_bytes, cost.needed_bytes) == (0, 2 * 65 * (8 * 8 + 16))


def test_fetch_refuses_a_segment_that_the_cache_would_not_keep():
    message = refused(fetch.main, "model=70m", "step=100000", "steps=600", "corpus.cache_gib=2")
    assert "the run reads 3.777 GB, more than the cache keeps at corpus.cache_gib=2; raise it" in message


@pytest.fixture
def shards(tmp_path):
    contents = {f"document-{index:05d}-of-00002.bin": bytes([index]) * (1000 + index) for index in range(3)}
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    return {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}


def test_verify_holds_shards_against_a_file_of_hashes(shards, tmp_path, capsys):
    for line in ("{sha256}  {name}", "{sha256} *{name}", "{name} {sha256}", "\n{name} {SHA256}"):
        lines = [line.format(name=name, sha256=sha256, SHA256=sha256.upper()) for name, sha256 in shards.items()]
        (tmp_path / "hashes.txt").write_text("\n".join(lines) + "\n")
        verify.main([str(tmp_path), str(tmp_path / "hashes.txt")])
        assert "3 files, 3003 bytes: all as published" in capsys.readouterr().out
    (tmp_path / "document-00001-of-00002.bin").write_bytes(b"\2" + b"\1" * 1000)
    message = refused(verify.main, str(tmp_path), str(tmp_path / "hashes.txt"))
    assert "00001-of-00002.bin has sha256 " in message
    assert f"published is {shards['document-00001-of-00002.bin']}" in message


def test_verify_refuses_what_it_cannot_verify_in_one_line(shards, tmp_path):
    def refusal(content):
        (tmp_path / "hashes.txt").write_bytes(content)
        return refused(verify.main, str(tmp_path), str(tmp_path / "hashes.txt"))

    assert "no hash is published for document-00000-of-00002.bin" in refusal(b"other.bin " + b"a" * 64)
    assert "holds the line 'these are no hashes'" in refusal(b"these are no hashes")
    assert "expected lines HASH NAME" in refusal(b"\xff\xfe\x00\x30")
    assert "holds no line" in refusal(b"\n\n")
    assert "there is no file of hashes" in refused(verify.main, str(tmp_path), str(tmp_path / "missing.txt"))
    assert "0 arguments are given" in refused(verify.main)
    assert "is not on this machine" in refused(verify.main, "http://127.0.0.1/x.bin", "hashes.txt")
