import multiprocessing
import os
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from conftest import edited_source
from corpus import build_corpus, fingerprint
from foundation import UserError, mistakes_in_one_line
from test_recipe import pythia
from training import (
    Batch,
    Numerics,
    Pretraining,
    checkpoint_steps,
    load_checkpoint,
    pretrained_suite,
    saved_steps,
    suite_made_with,
    train,
)

RECIPE = pythia(3e-3, lr_decay_iters=12, warmup=0.1, sequences_per_step=4)
NUMERICS = Numerics("erf", "fp32")
PRETRAINING = Pretraining(
    hidden_size=32,
    num_layers=2,
    num_attention_heads=4,
    max_position_embeddings=24,
    train_iters=12,
    checkpoint_every=6,
    seed=1,
)


@pytest.fixture
def text(tmp_path):
    """Invented documents, one a line."""
    people = ["baker", "sailor", "gardener", "painter", "nurse", "driver"]
    lines = [f"The {a} told the {b} that he had lost his keys ." for a in people for b in people for _ in range(3)]
    (tmp_path / "text.txt").write_text("\n".join(lines))
    return str(tmp_path / "text.txt")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def corpus_of(text):
    return build_corpus(text, vocab_size=320, row_tokens=17, seed=1234)


def test_a_corpus_that_other_code_built_is_built_again(text):
    built = corpus_of(text)
    assert corpus_of(text).location == built.location
    with edited_source("corpus/sample_order.py"):
        assert corpus_of(text).location != built.location
    with edited_source("training/loop.py"):
        assert corpus_of(text).location == built.location


def batch_of(corpus):
    def batch_at(step):
        rows = corpus.rows(step * RECIPE.sequences_per_step, (step + 1) * RECIPE.sequences_per_step)
        return Batch(rows, {"sha256": fingerprint(rows)})

    return batch_at


def suite_of(text, pretraining=PRETRAINING):
    corpus = corpus_of(text)
    return pretrained_suite(
        pretraining,
        recipe=RECIPE,
        numerics=NUMERICS,
        micro_batch=4,
        tokenizer_file=corpus.tokenizer,
        seq_length=16,
        corpus_sha256=corpus.sha256,
        batch_at=batch_of(corpus),
        device=torch.device("cpu"),
        made_with={"threads": 1},
    )


def all_bytes(directory):
    return {path.relative_to(directory): path.read_bytes() for path in directory.rglob("*.safetensors")}


def test_checkpoints_stand_at_zero_the_doublings_and_every_kth_step():
    assert checkpoint_steps(143000, 1000) == [0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, *range(1000, 143001, 1000)]
    assert len(checkpoint_steps(143000, 1000)) == 154
    assert checkpoint_steps(12, 6) == [0, 1, 2, 4, 6, 8, 12]


def test_a_built_corpus_holds_every_document_once_in_rows(text):
    corpus = corpus_of(text)
    assert corpus.row_tokens == 17
    assert corpus.rows(0, corpus.num_rows).max() < 320
    assert corpus_of(text).location == corpus.location


def test_building_the_suite_twice_gives_the_same_weights_bit_for_bit(text, tmp_path, monkeypatch):
    first = suite_of(text)
    assert saved_steps(first) == [0, 1, 2, 4, 6, 8, 12]
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "another cache"))
    second = suite_of(text)
    assert first != second
    assert all_bytes(first) == all_bytes(second)


def test_the_first_update_has_rate_zero_so_step_1_equals_step_0(text):
    suite = suite_of(text)
    before, after = (load_checkpoint(suite, step=step).model.state_dict() for step in (0, 1))
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_a_resumed_control_arm_ends_bitwise_at_the_suites_own_later_checkpoint(text, tmp_path):
    suite = suite_of(text)
    train(
        load_checkpoint(suite, step=6),
        stop=12,
        batch_at=batch_of(corpus_of(text)),
        recipe=RECIPE,
        precision="fp32",
        micro_batch=4,
        device=torch.device("cpu"),
        checkpoints=tmp_path / "control",
        save_at=[9],
        keep=2,
        journal=tmp_path / "control.jsonl",
        description="control",
    )
    for name in ("model.safetensors", "optimizer.safetensors"):
        assert (tmp_path / "control" / "step12" / name).read_bytes() == (suite / "step12" / name).read_bytes()


def test_inputs_may_be_longer_than_the_rows_and_that_changes_no_weight(text):
    longer = replace(PRETRAINING, max_position_embeddings=40)
    assert load_checkpoint(suite_of(text, longer), step=12).model.config.max_position_embeddings == 40
    assert all_bytes(suite_of(text, longer)) == all_bytes(suite_of(text))
    with pytest.raises(
        UserError, match=r"max_position_embeddings=15, but the corpus's rows have 16 tokens .* set it to 16"
    ):
        suite_of(text, replace(PRETRAINING, max_position_embeddings=15))


def test_a_suite_that_lost_a_checkpoint_makes_it_again(text):
    suite = suite_of(text)
    whole = all_bytes(suite)
    shutil.rmtree(suite / "step6")
    assert suite_of(text) == suite
    assert all_bytes(suite) == whole


@pytest.mark.parametrize("name", ["rows.bin", "rows.sha256", "tokenizer.json", "tokenizer.sha256"])
def test_a_damaged_corpus_is_refused(text, name):
    damaged = Path(corpus_of(text).location).with_name(name)
    content = bytearray(damaged.read_bytes())
    content[7] ^= 0x80
    damaged.write_bytes(content)
    with pytest.raises(UserError, match=r"is not what was built there; remove .*, and it is built again"):
        corpus_of(text)


def test_a_disk_that_is_full_when_the_corpus_is_built_is_told_as_such(text, tmp_path, monkeypatch):
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4k", "tmpfs", disk], capture_output=True).returncode:
        pytest.skip("a tmpfs can only be mounted by root")
    try:
        monkeypatch.setenv("XDG_CACHE_HOME", str(disk))
        with pytest.raises(SystemExit, match=r"^error: .*No space left on device"), mistakes_in_one_line():
            corpus_of(text)
        assert not list(disk.rglob(".aside*"))
    finally:
        subprocess.run(["umount", disk], check=True)


def test_a_killed_build_goes_on_where_it_was(text, tmp_path, monkeypatch):
    whole = suite_of(text)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "another cache"))
    corpus = corpus_of(text)
    seen = []

    def die_at_7(step):
        seen.append(step)
        if step == 7:
            raise KeyboardInterrupt
        return batch_of(corpus)(step)

    options = {
        "recipe": RECIPE,
        "numerics": NUMERICS,
        "micro_batch": 4,
        "tokenizer_file": corpus.tokenizer,
        "seq_length": 16,
        "corpus_sha256": corpus.sha256,
        "device": torch.device("cpu"),
        "made_with": {"threads": 2},
    }
    with pytest.raises(KeyboardInterrupt):
        pretrained_suite(PRETRAINING, batch_at=die_at_7, **options)
    resumed = suite_of(text)
    assert suite_made_with(resumed) == [{"threads": 2}, {"threads": 1}]
    assert seen == list(range(8))
    assert all_bytes(resumed) == all_bytes(whole)


def build_elsewhere(text, cache, results):
    os.environ["XDG_CACHE_HOME"] = cache
    torch.set_num_threads(1)
    results.put(str(suite_of(text)))


def test_two_processes_that_start_together_build_one_whole_suite(text, tmp_path):
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    cache = str(tmp_path / "shared cache")
    workers = [context.Process(target=build_elsewhere, args=(text, cache, results)) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(120)
    directories = {results.get(timeout=5) for _ in workers}
    assert [worker.exitcode for worker in workers] == [0, 0]
    (directory,) = directories
    for step in (0, 1, 2, 4, 6, 8, 12):
        load_checkpoint(directory, step=step)
