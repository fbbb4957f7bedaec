"""What each token id stands for: exact bytes, and how the text before and after it joins a neighbouring word.

Legend: V tokens in the vocabulary. A byte-level token may hold a part of a UTF-8 character only, so a character at the
edge of a token is read from the neighbouring tokens where one token does not decide it.
"""

import codecs
import hashlib
import json
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerBase

from foundation import UserError

HYPHENS = "-\u00ad\u2010\u2011"  # hyphen-minus, soft hyphen, hyphen, non-breaking hyphen; a dash is none of them
APOSTROPHE_LETTERS = "\u02b9\u02bb\u02bc\u02bd\ua78c"  # letters to Unicode, apostrophes to those who type them
RULED_LINE = 8  # underscores
CONTINUATION_BYTES = bytes(range(0x80, 0xC0))  # of UTF-8: those behind the first byte of a character


class Joint(IntEnum):
    """How a word meets the text on one side of it. Of two sides the greater one decides."""

    FREE = 0  # by a character that is no part of a word, or by the edge of the document
    CUT = 1  # the row ends before this is known
    COMPOUND = 2  # by one hyphen with a word behind it
    WORD = 3  # by a letter, digit, underscore or accent: what was taken for a word is a part of one
    UNCLEAR = 4  # this token alone does not tell


def is_word_character(character: str) -> bool:
    """Letters, digits and the underscore, as `\\w` of `re`; also combining marks, which belong to a letter. Not the
    letters of `APOSTROPHE_LETTERS`.
    """
    if character in APOSTROPHE_LETTERS:
        return False
    return character == "_" or character.isalnum() or unicodedata.category(character).startswith("M")


def joint(text: str, *, ended: bool) -> Joint:
    """How a word joins `text`, whose first character is the word's neighbour.

    Fewer than `RULED_LINE` underscores belong to an identifier where a letter or digit stands behind them ("he_1");
    others emphasise.

    Args:
        text: what is known of the neighbourhood; reversed for the side before a word.
        ended: the document ends where `text` ends; otherwise more follows that is not known.
    """
    if text.startswith("_"):
        behind = text.lstrip("_")
        if len(text) - len(behind) >= RULED_LINE:
            return Joint.FREE
        if not behind:
            return Joint.FREE if ended else Joint.CUT
        return Joint.WORD if is_word_character(behind[0]) else Joint.FREE
    if text and text[0] not in HYPHENS:
        return Joint.WORD if is_word_character(text[0]) else Joint.FREE
    if len(text) < 2:
        return Joint.FREE if ended else Joint.CUT
    return Joint.COMPOUND if is_word_character(text[1]) else Joint.FREE


@dataclass(frozen=True, eq=False)
class Vocabulary:
    """The tokens of a byte-level BPE tokenizer.

    Attributes:
        tokens: V byte strings.
        ends_document: (V,) whether the token is special (<|endoftext|>, <|padding|>): no word reaches across it.
        opening: (V,) `Joint` of a word that the token follows.
        closing: (V,) `Joint` of a word that the token precedes.
    """

    tokens: Sequence[bytes]
    ends_document: NDArray[np.bool_]
    opening: NDArray[np.uint8]
    closing: NDArray[np.uint8]

    @property
    def size(self) -> int:
        return len(self.tokens)

    @property
    def fingerprint(self) -> str:
        """SHA-256 over every token's bytes and kind, in the order of ids."""
        content = [[token.hex(), bool(special)] for token, special in zip(self.tokens, self.ends_document, strict=True)]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()

    def check(self, rows: NDArray[np.integer]) -> None:
        """Raise UserError where `rows` holds an id without a token, or has a dtype that cannot hold every id."""
        if np.iinfo(rows.dtype).max < self.size - 1:
            raise UserError(
                f"rows are {rows.dtype}, too narrow for a vocabulary of {self.size} tokens; make them of a wider type"
            )
        lowest = 0 if rows.dtype.kind == "u" else int(rows.min(initial=0))
        for found in (int(rows.max(initial=0)), lowest):
            if not 0 <= found < self.size:
                raise UserError(
                    f"rows hold token id {found}, but the vocabulary ends at {self.size - 1} ({self.size} tokens); "
                    f"take the tokenizer that made these rows"
                )

    def text_after(self, row: NDArray[np.integer], column: int, *, enough: int) -> tuple[str, bool]:
        """Text of a row from a column on, and whether the document ends with it.

        Args:
            enough: bytes after which no further token is read. A character that this or the row cuts in two is left
                out.
        """
        data = bytearray()
        for token in row[column : column + enough].tolist():
            if self.is_special[token]:
                return data.decode("utf-8", "replace"), True
            data += self.tokens[token]
            if len(data) >= enough:
                break
        return complete_text(data), False

    def text_before(self, row: NDArray[np.integer], column: int, *, enough: int) -> tuple[str, bool]:
        """Text of a row up to a column, which is not included, and whether the document begins with it."""
        parts: list[bytes] = []
        size = 0
        for token in row[max(0, column - enough) : column][::-1].tolist():
            if self.is_special[token]:
                return b"".join(reversed(parts)).decode("utf-8", "replace"), True
            parts.append(self.tokens[token])
            size += len(parts[-1])
            if size >= enough:
                break
        return b"".join(reversed(parts)).lstrip(CONTINUATION_BYTES).decode("utf-8", "replace"), False

    @cached_property
    def is_special(self) -> list[bool]:
        """`ends_document`, for a look-up of single tokens."""
        special: list[bool] = self.ends_document.tolist()
        return special


def complete_text(data: bytes | bytearray) -> str:
    """`data` as text without the unfinished character at its end."""
    return codecs.utf_8_decode(data, "replace", False)[0]


def read_vocabulary(tokenizer: PreTrainedTokenizerBase) -> Vocabulary:
    """Decode every token of a byte-level BPE tokenizer (as of GPT-2, GPT-NeoX and Pythia) to its bytes.

    Added tokens (the runs of spaces of GPT-NeoX-20B, special tokens) stand for their literal content.

    Raises:
        UserError: the tokenizer is of another kind, or its ids have gaps.
    """
    added = tokenizer.added_tokens_decoder
    by_id = {token_id: token for token, token_id in tokenizer.get_vocab().items()}
    if sorted(by_id) != list(range(len(by_id))):
        raise UserError(
            f"the tokenizer has {len(by_id)} tokens with ids up to {max(by_id)}; expected ids without gaps; take "
            f"Pythia's"
        )
    byte_of = _byte_alphabet()
    tokens = [
        added[token_id].content.encode() if token_id in added else _token_bytes(by_id[token_id], byte_of)
        for token_id in range(len(by_id))
    ]
    special = np.array([token_id in added and added[token_id].special for token_id in range(len(tokens))], np.bool_)
    return Vocabulary(tokens, special, _joints(tokens, special, _opening), _joints(tokens, special, _closing))


def canonical_tokens(text: str, tokenizer: PreTrainedTokenizerBase, vocabulary: Vocabulary) -> tuple[int, ...]:
    """The ids that the tokenizer gives `text`.

    Raises:
        UserError: they stand for another text: the tokenizer lower-cases, or puts a space before words.
    """
    return canonical_tokens_of_all([text], tokenizer, vocabulary)[0]


def canonical_tokens_of_all(
    texts: Sequence[str], tokenizer: PreTrainedTokenizerBase, vocabulary: Vocabulary
) -> list[tuple[int, ...]]:
    """The ids that the tokenizer gives each text; see `canonical_tokens`."""
    encoded = [tuple(ids) for ids in tokenizer(list(texts), add_special_tokens=False)["input_ids"]]
    for text, ids in zip(texts, encoded, strict=True):
        found = b"".join(vocabulary.tokens[token] for token in ids)
        if found != text.encode():
            raise UserError(
                f"the tokenizer turns {text!r} into {found!r}; expected one that keeps text as it is (no lower-casing, "
                f"add_prefix_space=False)"
            )
    return encoded


def _byte_alphabet() -> dict[str, int]:
    """The printable character that stands for each byte in a vocabulary (GPT-2, `encoder.py:bytes_to_unicode`)."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(256 + n): byte for n, byte in enumerate(others)}


def _token_bytes(token: str, byte_of: dict[str, int]) -> bytes:
    foreign = set(token) - byte_of.keys()
    if foreign:
        raise UserError(
            f"token {token!r} holds {foreign.pop()!r}, no letter of byte-level BPE; use a GPT-NeoX tokenizer"
        )
    return bytes(byte_of[character] for character in token)


def _joints(
    tokens: Sequence[bytes], special: NDArray[np.bool_], of_token: Callable[[bytes], Joint]
) -> NDArray[np.uint8]:
    joints = np.array([of_token(token) for token in tokens], np.uint8)
    joints[special] = Joint.FREE
    return joints


def _opening(token: bytes) -> Joint:
    found = joint(complete_text(token), ended=False)
    return Joint.UNCLEAR if found == Joint.CUT else found


def _closing(token: bytes) -> Joint:
    found = joint(token.lstrip(CONTINUATION_BYTES).decode("utf-8", "replace")[::-1], ended=False)
    return Joint.UNCLEAR if found == Joint.CUT else found
