"""A random two-layer GPT-NeoX and a byte-level BPE tokenizer, small enough for any test and made without the network.

Both live for the whole session: a test that trains or edits one works on a `copy.deepcopy` of it.

Where files of tests run side by side (`-n 2`), each process and what it starts has one thread: they would only wait for
one another's.
"""

import contextlib
import itertools
import os

if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ["OMP_NUM_THREADS"] = "1"

import pytest
import tokenizers
import torch
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM, PreTrainedTokenizerFast

from foundation import code
from foundation.hub import forget_listings
from foundation.web import forget_hosts
from smoke import smoke

TINY_VOCABULARY = 512
TINY_POSITIONS = 512


def invented_sentences() -> list[str]:
    """Sentences of our own with every pronoun, in both cases, so that each becomes one token."""
    people = ["baker", "sailor", "gardener", "painter", "nurse", "driver", "teacher", "manager", "cook", "clerk"]
    pronouns = [
        ("he", "him", "his", "his", "himself"),
        ("she", "her", "her", "hers", "herself"),
        ("they", "them", "their", "theirs", "themselves"),
    ]
    sentences = []
    for (person, friend), (subject, object_, possessive, absolute, reflexive) in itertools.product(
        itertools.permutations(people, 2), pronouns
    ):
        sentences += [
            f"The {person} met the {friend} because {subject} had lost {possessive} keys .",
            f"{subject.capitalize()} told the {friend} about it, and the {person} thanked {object_} .",
            f"{possessive.capitalize()} boat is old; the green one is {absolute}, said the {person}.",
            f"The {friend} wrote that {subject} built the house by {reflexive}.",
            f"{object_.capitalize()} or {reflexive.capitalize()}? {absolute.capitalize()}, of course.",
        ]
    return sentences


@pytest.fixture(autouse=True)
def nobody_was_asked():
    """What a process learns of hosts and repositories goes with the test."""
    forget_hosts()
    forget_listings()


@pytest.fixture(scope="session")
def tiny_tokenizer() -> PreTrainedTokenizerFast:
    """Byte-level BPE as in GPT-NeoX-20B (no prefix space); `<|endoftext|>` has id 0 and is bos, eos and unk."""
    bpe = tokenizers.Tokenizer(tokenizers.models.BPE())
    bpe.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = tokenizers.decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=TINY_VOCABULARY - 64,
        special_tokens=["<|endoftext|>"],
        initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(invented_sentences(), trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe, bos_token="<|endoftext|>", eos_token="<|endoftext|>", unk_token="<|endoftext|>"
    )


@pytest.fixture(scope="session")
def tiny_model() -> GPTNeoXForCausalLM:
    """Two layers, width 32, four heads, float32, on the CPU, in eval mode; the vocabulary is padded as Pythia's is.

    The weights are drawn wider than Pythia's, so that the probabilities differ enough to tell orderings apart.
    """
    config = GPTNeoXConfig(
        vocab_size=TINY_VOCABULARY,
        hidden_size=32,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=TINY_POSITIONS,
        initializer_range=0.1,
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 0.25},
        bos_token_id=0,
        eos_token_id=0,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return GPTNeoXForCausalLM(config).eval()


@pytest.fixture(scope="module")
def workshop(tmp_path_factory):
    """A directory with a text and an empty cache, for `smoke`."""
    directory = tmp_path_factory.mktemp("workshop")
    (directory / "text.txt").write_text("\n".join(invented_sentences()))
    return directory


@pytest.fixture(scope="module")
def finished(workshop):
    """The directory of a finished run."""
    result = smoke(workshop, f"hydra.run.dir={workshop / 'finished'}")
    assert result.returncode == 0, result.stderr
    return workshop / "finished"


@contextlib.contextmanager
def edited_source(path):
    """Within the block this process is taken to have begun with another source file."""
    edited = {name: source + b"#" if name == path else source for name, source in code.SOURCES.items()}
    assert edited != code.SOURCES
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(code, "SOURCES", edited)
        code.hash_of_source.cache_clear()
        yield
    code.hash_of_source.cache_clear()
