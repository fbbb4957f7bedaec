from collections.abc import Sequence

import numpy as np
import pytest
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from foundation import UserError
from interventions.vocabulary import Joint, canonical_tokens, joint, read_vocabulary

END = "<|endoftext|>"

SENTENCES = [
    "The gardener said that he would water his roses himself, and nobody stopped him.",
    "She gave her sister a ladder; the red one is hers, so she painted it herself.",
    '"He is late," she wrote. "Her clock is slow, His is fast and Him we never see."',
    "HE, HIS, HIM and SHE, HER, HERS were the headings. Himself? Herself? Hers!",
    "she he her him his hers (herself himself) she\nhe\nher\nhim\nhis\nhers\nherself\nhimself",
    " SHE HE HER HIM HIS HERS HERSELF HIMSELF She He Her Him His Hers Herself Himself",
    "(She (He (Her (Him (His (Hers (Herself (Himself (SHE (HE (HER (HIM (HIS (HERS",
]


def byte_level_tokenizer(
    vocab_size: int, *, added: tuple[str, ...] = (), sentences: Sequence[str] = SENTENCES
) -> PreTrainedTokenizerFast:
    """A byte-level BPE in the manner of GPT-NeoX-20B, whose runs of spaces are added tokens."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size, special_tokens=[END], initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(sentences, trainer)
    tokenizer.add_tokens([AddedToken(content, normalized=True) for content in added])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=END)


def decoded(tokenizer: PreTrainedTokenizerFast, row: np.ndarray) -> str:
    return tokenizer.decode(row.tolist(), skip_special_tokens=False, clean_up_tokenization_spaces=False)


@pytest.fixture(scope="module")
def tokenizer():
    return byte_level_tokenizer(300, added=("  ", "é"))


@pytest.fixture(scope="module")
def vocabulary(tokenizer):
    return read_vocabulary(tokenizer)


def test_bytes_of_tokens_join_to_the_text_they_were_made_of(tokenizer, vocabulary):
    text = "naïve “quotes” — 漢字 🦔\t\n  two spaces, é and \u0301"
    assert b"".join(vocabulary.tokens[token] for token in tokenizer.encode(text)) == text.encode()


def test_only_special_tokens_end_a_document(tokenizer, vocabulary):
    assert [vocabulary.tokens[token] for token in np.flatnonzero(vocabulary.ends_document)] == [END.encode()]


def test_no_word_reaches_into_a_special_token_though_it_be_spelled_in_letters():
    lettered = byte_level_tokenizer(300)
    lettered.add_special_tokens({"sep_token": "END"})
    vocabulary = read_vocabulary(lettered)
    assert vocabulary.opening[lettered.sep_token_id] == vocabulary.closing[lettered.sep_token_id] == Joint.FREE


@pytest.mark.parametrize(
    ("text", "ended", "expected"),
    [
        ("s", False, Joint.WORD),
        ("7", False, Joint.WORD),
        ("_", False, Joint.CUT),
        ("_", True, Joint.FREE),
        ("_x", False, Joint.WORD),
        ("__7", False, Joint.WORD),
        ("_ x", False, Joint.FREE),
        ("_, x", False, Joint.FREE),
        ("________x", False, Joint.FREE),
        ("\u02bcs", False, Joint.FREE),
        ("漢", False, Joint.WORD),
        ("\u0301", False, Joint.WORD),
        (" ", False, Joint.FREE),
        ("’s", False, Joint.FREE),
        ("–m", False, Joint.FREE),
        ("-m", False, Joint.COMPOUND),
        ("\u2010m", False, Joint.COMPOUND),
        ("--m", False, Joint.FREE),
        ("- m", False, Joint.FREE),
        ("-", False, Joint.CUT),
        ("-", True, Joint.FREE),
        ("", False, Joint.CUT),
        ("", True, Joint.FREE),
    ],
)
def test_a_word_joins_its_neighbour(text, ended, expected):
    assert joint(text, ended=ended) == expected


def test_a_part_of_a_character_leaves_the_joint_unclear(tokenizer, vocabulary):
    lead, middle, last = (tokenizer.convert_tokens_to_ids(letter) for letter in "âĢĻ")  # the three bytes of ’
    assert vocabulary.opening[lead] == Joint.UNCLEAR
    assert vocabulary.closing[last] == Joint.UNCLEAR
    row = np.array([lead, middle, last])
    assert vocabulary.text_after(row, 0, enough=64) == ("’", False)
    assert vocabulary.text_after(row, 0, enough=2) == ("", False)
    assert vocabulary.text_before(row, 3, enough=64) == ("’", False)
    assert vocabulary.text_before(row[1:], 2, enough=64) == ("", False)


def test_text_is_read_up_to_the_edge_of_the_document(tokenizer, vocabulary):
    row = np.array(tokenizer.encode(f"ab{END}cd{END}ef"))
    after = int(np.flatnonzero(vocabulary.ends_document[row])[0]) + 1
    assert vocabulary.text_after(row, after, enough=64) == ("cd", True)
    assert vocabulary.text_before(row, after + 2, enough=64) == ("cd", True)


@pytest.mark.parametrize("dtype", [np.uint16, np.int32, np.int64])
def test_an_id_beyond_the_vocabulary_is_named(vocabulary, dtype):
    rows = np.array([[0, vocabulary.size]], dtype)
    with pytest.raises(UserError, match=rf"token id {vocabulary.size}, .*\({vocabulary.size} tokens\)"):
        vocabulary.check(rows)


def test_a_negative_id_is_named(vocabulary):
    with pytest.raises(UserError, match="token id -1"):
        vocabulary.check(np.array([[0, -1]], np.int32))


def test_rows_of_a_type_too_narrow_for_the_vocabulary_are_refused(vocabulary):
    with pytest.raises(UserError, match="uint8"):
        vocabulary.check(np.zeros((1, 2), np.uint8))


def test_a_sentencepiece_vocabulary_is_refused():
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.BPE({"a": 0, "▁he": 1}, [])))
    with pytest.raises(UserError, match="▁"):
        read_vocabulary(tokenizer)


def test_gaps_between_ids_are_refused():
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.BPE({"a": 0, "b": 2}, [])))
    with pytest.raises(UserError, match="gaps"):
        read_vocabulary(tokenizer)


@pytest.mark.parametrize("change", ["lower case", "leading space"])
def test_a_tokenizer_that_changes_text_is_refused(change):
    tokenizer = byte_level_tokenizer(300)
    if change == "lower case":
        tokenizer.backend_tokenizer.normalizer = normalizers.Lowercase()
    else:
        tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    with pytest.raises(UserError, match="turns 'He' into"):
        canonical_tokens("He", tokenizer, read_vocabulary(tokenizer))


def test_the_fingerprint_tells_vocabularies_apart(vocabulary):
    other = read_vocabulary(byte_level_tokenizer(300, added=("  ", "è")))
    assert other.fingerprint != vocabulary.fingerprint
    assert read_vocabulary(byte_level_tokenizer(300, added=("  ", "é"))).fingerprint == vocabulary.fingerprint
