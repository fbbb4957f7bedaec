"""What a message says to do is done, and works."""

import ast
import errno
import hashlib
import os
import re
import shlex
import shutil
import sys
from dataclasses import fields, is_dataclass
from inspect import signature
from types import SimpleNamespace
from typing import get_args, get_type_hints

import numpy as np
import pytest
import torch
from safetensors import SafetensorError
from tokenizers import Tokenizer

from conf.parts import check_same_tokenizer
from conf.schema import RunConfig
from corpus import build_corpus, open_corpus, open_pile, verify
from corpus.indexed_dataset import read_index
from corpus.sample_order import SampleOrder, check_order
from eval.likelihood import continuation_requests
from foundation import UserError, file_errors_for_users
from foundation.commands import _REMEDIES
from neox_generator import write_checkpoint
from smoke import ROOT
from test_checkpoint import save
from test_suites import toy_model
from training import load_checkpoint
from training.suites import check_tokenizer
from training.weights import load_weights


@pytest.fixture
def suite(tmp_path, tiny_model, tiny_tokenizer):
    """A directory with one checkpoint in transformers' format, of step 6."""
    tiny_model.save_pretrained(tmp_path / "suite" / "step6")
    tiny_tokenizer.save_pretrained(tmp_path / "suite" / "step6")
    return tmp_path / "suite"


def refusal(function, *arguments, **options):
    with pytest.raises(UserError) as refused:
        function(*arguments, **options)
    assert "\n" not in str(refused.value)
    return str(refused.value)


def without(suite, *names):
    for name in names:
        (suite / "step6" / name).unlink()
    return suite


@pytest.mark.parametrize("named", ["a file", "a directory", "nothing"])
def test_a_tokenizer_json_alone_is_pythias_tokenizer(suite, tmp_path, tiny_tokenizer, named):
    (tmp_path / "alone").mkdir()
    shutil.copy(suite / "step6" / "tokenizer.json", tmp_path / "alone")
    without(suite, "tokenizer_config.json")
    if named != "nothing":
        without(suite, "tokenizer.json")
    place = {"a file": tmp_path / "alone" / "tokenizer.json", "a directory": tmp_path / "alone", "nothing": None}[named]
    checkpoint = load_checkpoint(suite, step=6, tokenizer=place and str(place))
    check_tokenizer(checkpoint)
    found, expected = (
        continuation_requests(tokenizer, ["He said"], [" she"]) for tokenizer in (checkpoint.tokenizer, tiny_tokenizer)
    )
    assert found == expected


@pytest.mark.parametrize("others", [["tokenizer_config.json"], []])
def test_a_tokenizer_that_has_nothing_to_begin_texts_with_is_refused_before_anything_is_done(suite, others):
    without(suite, *others)
    path = suite / "step6" / "tokenizer.json"
    whole = path.read_text("utf-8")
    path.write_text(whole.replace("<|endoftext|>", "[SEP]"), "utf-8")
    message = refusal(load_checkpoint, suite, step=6)
    assert "does not hold <|endoftext|>, which texts begin with" in message
    assert "set model.tokenizer to the one that the model was trained with" in message
    (suite / "right.json").write_text(whole, "utf-8")
    assert load_checkpoint(suite, step=6, tokenizer=str(suite / "right.json")).tokenizer.bos_token == "<|endoftext|>"


@pytest.mark.parametrize("extra", ["[PAD]", "<|im_start|>"])
def test_a_token_that_a_fine_tuner_added_is_mended_by_the_corpus_own_tokenizer(suite, tmp_path, tiny_tokenizer, extra):
    own = tmp_path / "it's the corpus" / "tokenizer.json"
    own.parent.mkdir()
    shutil.copy(suite / "step6" / "tokenizer.json", own)
    corpus = SimpleNamespace(tokenizer=own, location="rows.bin")
    tokenizer = Tokenizer.from_file(str(own))
    tokenizer.add_tokens([extra])
    tokenizer.save(str(suite / "step6" / "tokenizer.json"))
    message = refusal(check_same_tokenizer, load_checkpoint(suite, step=6), corpus)
    assert f"differ from token id {len(tiny_tokenizer)} on" in message
    named = message.rpartition("model.tokenizer=")[2]
    check_same_tokenizer(load_checkpoint(suite, step=6, tokenizer=named), corpus)


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json"])
def test_a_link_to_nothing_is_told_and_mended_by_the_file(suite, tmp_path, name):
    path = suite / "step6" / name
    path.rename(tmp_path / "blob")
    path.symlink_to(tmp_path / "gone")
    message = refusal(load_checkpoint, suite, step=6)
    assert f"{path} is a link to {tmp_path / 'gone'}, where nothing is; fetch or copy that file again" in message
    (tmp_path / "blob").rename(tmp_path / "gone")
    assert load_checkpoint(suite, step=6).step == 6


def test_a_link_to_nothing_that_is_not_needed_is_passed_over(suite, tiny_model):
    for name in ("README.md", "model.safetensors", "chat_template.json"):
        (suite / "step6" / name).unlink(missing_ok=True)
        (suite / "step6" / name).symlink_to("gone")
    torch.save(tiny_model.state_dict(), suite / "step6" / "pytorch_model.bin")
    assert load_checkpoint(suite, step=6).step == 6


@pytest.mark.parametrize("kind", ["safetensors", "pickle"])
def test_weights_in_float64_are_rounded_by_the_command_that_is_told(suite, tiny_model, monkeypatch, kind):
    tiny_model.to(torch.float64).save_pretrained(suite / "step6")
    if kind == "pickle":
        without(suite, "model.safetensors")
        torch.save(tiny_model.state_dict(), suite / "step6" / "pytorch_model.bin")
    message = refusal(load_checkpoint, suite, step=6)
    assert "tensors in float64" in message
    _, _, script, *arguments = shlex.split(message[message.index("python -c") :])
    monkeypatch.setattr(sys, "argv", ["-c", *arguments])
    exec(script, {})  # the program that is told
    rounded = load_checkpoint(suite.with_name("suite-float32"), step=6).model
    for name, value in tiny_model.float().state_dict().items():
        assert torch.equal(rounded.state_dict()[name], value)


def test_quantised_weights_are_not_called_float64(suite, tiny_model):
    state = {name: value.to(torch.int8) for name, value in tiny_model.state_dict().items()}
    without(suite, "model.safetensors")
    torch.save(state, suite / "step6" / "pytorch_model.bin")
    assert "take the model unquantised" in refusal(load_weights, suite / "step6")


@pytest.mark.parametrize("prefix", ["bf16", "fp32"])
def test_the_optimizer_files_of_another_version_of_gpt_neox_are_not_called_missing_alone(tmp_path, prefix):
    write_checkpoint(tmp_path, toy_model(), step=7)
    for path in (tmp_path / "global_step7").glob("zero_pp_rank_*"):
        path.rename(path.with_name(f"{prefix}_{path.name}"))
    message = refusal(load_checkpoint, tmp_path, step=7)
    assert f"{prefix}_zero_pp_rank_0_mp_rank_00_optim_states.pt is there, as another version of GPT-NeoX" in message
    assert "set optimizer_state=replay or fresh" in message


def test_a_link_to_nothing_among_gpt_neox_files_is_told(tmp_path):
    write_checkpoint(tmp_path, toy_model(), step=7)
    path = tmp_path / "global_step7" / "zero_pp_rank_0_mp_rank_00_optim_states.pt"
    path.rename(tmp_path / "blob")
    path.symlink_to("gone")
    assert f"{path} is a link to gone, which is not there; fetch that file again" in refusal(
        load_checkpoint, tmp_path, step=7
    )


@pytest.mark.parametrize("beginning", [b"TNTIDX\x00\x00" + bytes(40), b"TNTIDX\x00\x00"])
def test_an_index_of_another_kind_is_not_to_be_fetched_again(tmp_path, beginning):
    (tmp_path / "text.idx").write_bytes(beginning)
    message = refusal(read_index, tmp_path / "text.idx")
    assert "--dataset-impl mmap" in message
    assert "fetch" not in message


def test_a_published_map_that_is_itself_incomplete_is_built_rather_than_fetched_again():
    shuffle = np.array([0, 2, 0], np.uint32)
    order = SampleOrder(np.arange(4), np.zeros((4, 2), np.int64), shuffle, 8)
    message = refusal(check_order, order, num_documents=4, origin="hf://datasets/x/y")
    assert "leave corpus.maps out to build it (the published one of seed 2 is no better" in message


CONTENT = b"rows"
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.mark.parametrize(
    "line",
    [
        *(f"{SHA256}  rows.bin", f"{SHA256} *rows.bin", f"{SHA256.upper()}\trows.bin", f"\\{SHA256}  rows.bin"),
        *(f"SHA256 (rows.bin) = {SHA256}", f"SHA256(./some where/rows.bin)= {SHA256}", f"SHA2-256(rows.bin)= {SHA256}"),
        *(f"rows.bin {SHA256}", f"some where/rows.bin\t{SHA256}", f"{SHA256}  C:\\some where\\rows.bin"),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_hashes_are_read_as_every_program_writes_them(tmp_path, capsys, line, encoding):
    (tmp_path / "rows.bin").write_bytes(CONTENT)
    hashes = tmp_path / "hashes"
    hashes.write_text(f"# of the rows\r\n\r\n{line}\r\n{'0' * 64}  other.bin\r\n", encoding)
    verify.main([str(tmp_path / "rows.bin"), str(hashes)])
    assert "all as published" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        (f"md5 {'0' * 32} of the file of a name that is long rows.bin", f"md5 {'0' * 32} of the file of a name"),
        (f"{'a' * 300} rows.bin", "aaa rows.bin"),
        (SHA256, SHA256),
    ],
)
def test_a_line_that_is_no_hash_is_shown_with_the_name(tmp_path, line, shown):
    (tmp_path / "hashes").write_text(line)
    message = refusal(verify.published_hashes, str(tmp_path / "hashes"))
    assert shown in message
    assert "expected lines HASH NAME, as sha256sum writes them" in message


@pytest.mark.parametrize("name", ["rows.bin", "a b.bin", "it's.bin", "é.bin"])
def test_hashes_as_sha256sum_writes_them_hold(tmp_path, name, capsys):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / name).write_bytes(CONTENT)
    os.system(f"cd {shlex.quote(str(tmp_path))} && sha256sum data/* > hashes")
    verify.main([str(tmp_path / "data" / name), str(tmp_path / "hashes")])
    assert "all as published" in capsys.readouterr().out


def settings_of(kind, prefix=""):
    for field in fields(kind):
        name, hint = f"{prefix}{field.name}", get_type_hints(kind)[field.name]
        yield name
        for each in (hint, *get_args(hint)):
            if is_dataclass(each):
                yield from settings_of(each, f"{name}.")


def texts_of_errors():
    """The text of every error that a user can mend, with {} for what is put into it, and where it stands."""
    for path in sorted(ROOT.rglob("*.py")):
        if path.relative_to(ROOT).parts[0] in ("tests", "perf"):
            continue
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.JoinedStr):
                parts = [part.value if isinstance(part, ast.Constant) else "{}" for part in node.values]
                yield f"{path.relative_to(ROOT)}:{node.lineno}", "".join(map(str, parts))


def test_every_setting_that_a_message_says_to_set_is_one():
    known = {*settings_of(RunConfig), "hydra.run.dir", "hydra.sweep.dir", "hydra.launcher.n_jobs"}
    known |= {
        f"corpus.{name}" for make in (open_corpus, open_pile, build_corpus) for name in signature(make).parameters
    }
    known |= {f"benchmarks.{name}.{option}" for name, option in [("held_out", "rows"), ("crows_pairs", "path")]}
    said = re.compile(
        r"\b(?:set|take|leave|raise|name|smaller|with|and|or) "
        r"((?:model|corpus|training|intervention|replay|fidelity|audit|trajectory|benchmarks|hydra)\.[a-z_.]*[a-z_])"
    )
    found = {(name, where) for where, text in texts_of_errors() for name in said.findall(text)}
    assert len(found) > 30
    assert sorted((name, where) for name, where in found if name not in known) == []


@pytest.mark.parametrize(
    ("number", "remedy"),
    [(28, "make room"), (122, "within the quota"), (27, "ulimit -f"), (30, "can be written"), (99, "")],
)
def test_what_libraries_in_rust_cannot_write_has_the_remedy_of_its_cause(
    tmp_path, tiny_model, tiny_tokenizer, monkeypatch, number, remedy
):
    def fail(*_, **__):
        raise SafetensorError(f"I/O error: of some kind (os error {number})")

    monkeypatch.setattr("training.checkpoint.save_file", fail)
    message = refusal(save, tmp_path, 5, tiny_model, tiny_tokenizer)
    assert remedy in message.partition("the one before it is whole: ")[2]


@pytest.mark.parametrize("number", sorted(_REMEDIES))
@pytest.mark.parametrize("place", ["/data/run/run.json", None])
def test_what_a_file_system_refuses_is_one_line_with_the_file_the_reason_and_a_remedy(number, place):
    def fail():
        with file_errors_for_users():
            raise OSError(number, os.strerror(number), place)

    message = refusal(fail)
    assert message.startswith(f"{place}: {os.strerror(number)}; " if place else f"{os.strerror(number)}; ")


def test_a_file_that_the_kit_itself_has_lost_keeps_its_traceback():
    with pytest.raises(FileNotFoundError), file_errors_for_users():
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), "/data/run/run.json")
