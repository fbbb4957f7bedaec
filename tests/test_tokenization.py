"""Tokenizers with one vocabulary that split, or read, a text otherwise."""

import json

import numpy as np
import pytest
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from conftest import invented_sentences
from foundation import UserError
from training.tokenization import PROBES, check_reads_back, check_same_tokens, foreign_rows

END = "<|endoftext|>"
SIZE = 415  # of the vocabulary


def changed(tokenizer, **parts):
    """A copy with another normaliser, pre-tokeniser or decoder; the same vocabulary."""
    backend = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
    for name, part in parts.items():
        setattr(backend, name, part)
    copy = PreTrainedTokenizerFast(tokenizer_object=backend, bos_token=END, eos_token=END, unk_token=END)
    assert copy.get_vocab() == tokenizer.get_vocab()
    return copy


def byte_level(**options):
    return pre_tokenizers.ByteLevel(**{"add_prefix_space": False, **options})


def read_back(tokenizer):
    check_reads_back(tokenizer, where="there")


def compared(tokenizer, original):
    check_same_tokens(tokenizer, original.backend_tokenizer, where="there", corpus="the rows")


@pytest.mark.parametrize(
    "parts",
    [
        {"pre_tokenizer": byte_level(add_prefix_space=True)},
        {"normalizer": normalizers.Lowercase()},
        {"normalizer": normalizers.Strip()},
        {"normalizer": normalizers.Sequence([normalizers.NFD(), normalizers.StripAccents()])},
        {"normalizer": normalizers.NFD()},
        {"normalizer": normalizers.NFKC()},
        {"normalizer": normalizers.Replace("\r\n", "\n")},
        {"normalizer": normalizers.Prepend(" ")},
    ],
)
def test_a_tokenizer_that_changes_a_text_is_refused(tiny_tokenizer, parts):
    with pytest.raises(UserError, match=r"the tokenizer of there reads .* as .*, but Pythia's keeps") as caught:
        read_back(changed(tiny_tokenizer, **parts))
    assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match="the vocabulary is the same, but it makes"):
        compared(changed(tiny_tokenizer, **parts), tiny_tokenizer)


@pytest.mark.parametrize(
    "pre_tokenizer",
    [
        byte_level(use_regex=False),
        pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), byte_level()]),
        pre_tokenizers.Sequence([pre_tokenizers.Punctuation(), byte_level()]),
        pre_tokenizers.Sequence([pre_tokenizers.Split(" ", "isolated"), byte_level(use_regex=False)]),
    ],
)
def test_a_tokenizer_that_splits_otherwise_than_the_corpus_was_is_refused(pre_tokenizer):
    """The vocabulary has tokens of several words and of several digits, so that the splitting decides."""
    words = ["he", "she", " he", " she", "12", "34", "1234", "n't", " (", "he ", " two", "I'll", "he'll"]
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokens = [END, *alphabet, *(byte_level().pre_tokenize_str(word)[0][0] for word in ["he", "she"])]
    vocabulary = {token: number for number, token in enumerate(dict.fromkeys(tokens))}
    merges = []
    for word in words:
        pieces = list(encoded_bytes(word))
        while len(pieces) > 1:
            merge = (pieces[0], pieces[1])
            merges.append(merge)
            pieces[:2] = ["".join(merge)]
            vocabulary.setdefault(pieces[0], len(vocabulary))
    backend = Tokenizer(models.BPE(vocabulary, list(dict.fromkeys(merges))))
    backend.pre_tokenizer, backend.decoder = byte_level(), decoders.ByteLevel()
    backend.add_special_tokens([END])
    original = PreTrainedTokenizerFast(tokenizer_object=backend, bos_token=END, eos_token=END, unk_token=END)
    read_back(original)
    compared(original, original)
    other = changed(original, pre_tokenizer=pre_tokenizer)
    read_back(other)
    with pytest.raises(UserError, match="the vocabulary is the same, but it makes"):
        compared(other, original)


def encoded_bytes(word):
    """A word in the letters that byte-level BPE has for bytes."""
    return byte_level(use_regex=False).pre_tokenize_str(word)[0][0]


@pytest.mark.parametrize("bos", ["[BOS]", "<s>"])
def test_a_tokenizer_that_begins_texts_otherwise_is_refused(tiny_tokenizer, bos):
    other = changed(tiny_tokenizer)
    other.add_special_tokens({"bos_token": bos})
    with pytest.raises(UserError, match="begins texts with"):
        read_back(other)


def test_the_tokenizer_of_the_rows_is_taken_also_when_it_was_saved_and_loaded(tiny_tokenizer, tmp_path):
    tiny_tokenizer.save_pretrained(tmp_path)
    for tokenizer in (tiny_tokenizer, AutoTokenizer.from_pretrained(tmp_path)):
        read_back(tokenizer)
        compared(tokenizer, tiny_tokenizer)
    assert json.loads((tmp_path / "tokenizer.json").read_text())["model"]["type"] == "BPE"


def rows_of(tokenizer, width):
    ids = []
    for number, sentence in enumerate(invented_sentences()):
        ids += [*tokenizer.encode(sentence + PROBES[number % len(PROBES)]), 0]
    return np.array(ids[: len(ids) // width * width], np.uint16).reshape(-1, width)


@pytest.mark.parametrize("width", [17, 65, 513])
def test_rows_are_known_for_those_of_their_tokenizer(tiny_tokenizer, width):
    rows = rows_of(tiny_tokenizer, width)
    for start in range(0, len(rows), max(1, len(rows) // 20)):
        assert foreign_rows(tiny_tokenizer, rows[start : start + 16], corpus="there") is None
    assert foreign_rows(tiny_tokenizer, rows[:0], corpus="there") is None


@pytest.mark.parametrize(
    "damage",
    [
        lambda rows: np.random.default_rng(0).integers(1, SIZE, rows.shape).astype(np.uint16),
        lambda rows: rows[:, ::-1].copy(),
        lambda rows: rows.byteswap() % SIZE,
        lambda rows: np.random.default_rng(0).permutation(SIZE).astype(np.uint16)[rows],
    ],
)
def test_rows_that_another_tokenizer_made_are_told(tiny_tokenizer, damage):
    rows = rows_of(tiny_tokenizer, 65)[:16]
    told = foreign_rows(tiny_tokenizer, damage(rows), corpus="there")
    assert told.startswith("The rows of there do not look like text that the checkpoint's tokenizer made")


def test_rows_with_an_id_beyond_the_vocabulary_are_refused(tiny_tokenizer):
    rows = rows_of(tiny_tokenizer, 65)[:16]
    rows[3, 3] = 40_000
    with pytest.raises(UserError, match="token id 40000, but the vocabulary ends at 414; take the tokenizer"):
        foreign_rows(tiny_tokenizer, rows, corpus="there")


@pytest.mark.parametrize("share", [0.5, 0.001])
def test_a_tokenizer_that_splits_at_random_is_refused_however_seldom(tiny_tokenizer, share):
    model = json.loads(tiny_tokenizer.backend_tokenizer.to_str())
    model["model"]["dropout"] = share
    backend = Tokenizer.from_str(json.dumps(model))
    with pytest.raises(
        UserError, match=rf"splits texts at random \(dropout={share:g} of its merges\), Pythia's always"
    ):
        read_back(PreTrainedTokenizerFast(tokenizer_object=backend, bos_token=END, eos_token=END, unk_token=END))
