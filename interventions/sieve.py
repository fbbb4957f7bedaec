"""What single tokens tell of the words beside them, so that text is read only where a rule may hold.

Legend: V tokens in the vocabulary. A bit too many costs time; one too few would make a rule depend on how a vocabulary
cuts the text.
"""

import re
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerBase

from interventions import kernels
from interventions.rules import coordination, languages, symbols, titles
from interventions.independence import KNOWN_BEHIND_HIS
from interventions.vocabulary import Joint, Vocabulary, canonical_tokens_of_all

_GROUPS = (kernels.MASCULINE, kernels.FEMININE, kernels.MASCULINE_TITLE, kernels.FEMININE_TITLE)
_CASES = (str.lower, str.capitalize, str.upper)
_S = ("s", "S", "(s", "(S", "(s)", "(S)", "[s]", "[S]", "[s", "[S")
_PASSES = re.compile(r"(?:[^\w.!?;:]|_)+")
_JOINS = re.compile(r"[/\\&+,(\[–-]")
_PARTS_OF_CONNECTORS = {word[i:j] for word in ("or", "nor", "and") for i in range(3) for j in range(i + 1, 4)}
_OPERATORS = frozenset("= == != <= >= += -= *= /= + * % & && | || -> => := { } ++".split())
_KEYWORDS = frozenset(
    "def function func fn sub macro struct enum elif var const return unsigned extern typedef int char void".split()
)
_CODE_BEHIND_A_WORD = re.compile(r"[=@$%`\\(\[/]|->|::|[\"']\s?[:=\])}>]")
_CODE_BEFORE_A_WORD = re.compile(
    r"(?:[$@#%&\\=~^`/{<*:\])]|->|[^.]\.|^\.|[=:(\[{]\s?[\"']|(?:^|\S)[\[(][\"']?)$"  # noqa: RUF039
)
_SIGN_OF_CODE = re.compile(r"[{}\\_<>\[\]=]|\(\)|->|::|\):|\);")


def tokens_behind(tokenizer: PreTrainedTokenizerBase, vocabulary: Vocabulary) -> NDArray[np.uint32]:
    """(V,) the bits of each token as the one behind a word."""
    bits = np.array([_behind(text) for text in _texts(vocabulary)], np.uint32)
    words = {
        kernels.TITLE: (*titles.ADJECTIVES, *titles.NOUNS, *map(str.lower, titles.CAPITALISED_NOUNS)),
        kernels.LANGUAGE: languages.FOREIGN,
        kernels.SYMBOL: (*symbols.HELIUM_NOUNS, *symbols.HISTIDINE_NOUNS),
        kernels.LISTED_WORD: symbols.LISTED,
    } | dict(zip(_GROUPS, coordination.GROUPS, strict=True))
    for bit, them in words.items():
        _mark(bits, bit, _spelled(them, tokenizer, vocabulary))
    for ids in _spelled(KNOWN_BEHIND_HIS, tokenizer, vocabulary):
        bits[list(ids[1:])] |= kernels.LATER_PIECE
    bits[vocabulary.opening == Joint.FREE] |= kernels.FREE_OPENING
    bits[vocabulary.ends_document] = 0
    return bits


def tokens_before(tokenizer: PreTrainedTokenizerBase, vocabulary: Vocabulary) -> NDArray[np.uint32]:
    """(V,) the bits of each token as the one before a word; `FREE_OPENING` is that of a token led by a space."""
    bits = np.array([_before(text) for text in _texts(vocabulary)], np.uint32)
    words = {kernels.LANGUAGE: languages.FOREIGN, kernels.LISTED_WORD: symbols.LISTED}
    for bit, them in (words | dict(zip(_GROUPS, coordination.GROUPS, strict=True))).items():
        _mark(bits, bit, [ids[::-1] for ids in _spelled(them, tokenizer, vocabulary)])
    _mark(bits, kernels.FEMININE, [ids[::-1] for ids in _encoded(_S, tokenizer, vocabulary)])
    bits[vocabulary.ends_document] = 0
    return bits


def _mark(bits: NDArray[np.uint32], bit: int, words: Sequence[tuple[int, ...]]) -> None:
    """Set `bit` at words of one token, and at the others' first two tokens that they are such."""
    for ids in words:
        if len(ids) == 1:
            bits[ids[0]] |= bit
        else:
            bits[ids[0]] |= kernels.FIRST_PIECE
            bits[ids[1]] |= kernels.SECOND_PIECE


def weights_of_english(vocabulary: Vocabulary) -> NDArray[np.int8]:
    """(V,) 1 for a frequent word of English, -1 for a sign of another language or of code, else 0."""
    return np.array([_weight(text) for text in _texts(vocabulary)], np.int8)


def alerts(forms: Sequence[str], leads: Sequence[str]) -> NDArray[np.uint32]:
    """Bits of the rules that may hold for each spelling, by its form and the character that leads it."""
    return np.array([_alert(form, lead) for form, lead in zip(forms, leads, strict=True)], np.uint32)


def opposite_bits(forms: Sequence[str]) -> NDArray[np.uint32]:
    """The bit of the words that each form may be coordinated with; 0 where there are none."""
    bit_of = dict(zip(coordination.GROUPS, _GROUPS, strict=True))
    others = [coordination.opposites(form) for form in forms]
    return np.array([bit_of[them] if them else 0 for them in others], np.uint32)


def _alert(form: str, lead: str) -> int:
    word = form.lower()
    pronoun = word in (*coordination.MASCULINE, *coordination.FEMININE)
    return (
        kernels.CODE
        | kernels.COORDINATION * bool(coordination.opposites(word))
        | (kernels.TITLE | kernels.PRONOUN_SET) * (word in ("his", "her"))
        | kernels.CAPITALS * (len(form) > 1 and form.isupper())
        | kernels.SYMBOL * (form in ("He", "His"))
        | kernels.LISTED * (word == "he" or form == "His")
        | kernels.LANGUAGE * pronoun
        | kernels.TOUCHES * (lead != " ")
    )


def _texts(vocabulary: Vocabulary) -> Iterable[str]:
    return (token.decode("utf-8", "replace") for token in vocabulary.tokens)


def _spelled(
    words: Iterable[str], tokenizer: PreTrainedTokenizerBase, vocabulary: Vocabulary
) -> list[tuple[int, ...]]:
    """The tokens of each word as it is and in three cases, bare and led by a space."""
    return _encoded({case(word) for word in words for case in (str, *_CASES)}, tokenizer, vocabulary)


def _encoded(
    words: Iterable[str], tokenizer: PreTrainedTokenizerBase, vocabulary: Vocabulary
) -> list[tuple[int, ...]]:
    texts = sorted(f"{space}{word}" for word in words for space in ("", " "))
    return canonical_tokens_of_all(texts, tokenizer, vocabulary)


def _common(text: str) -> int:
    """Bits that do not depend on the side."""
    word = text.strip().lower()
    return (
        kernels.PASSES * (_PASSES.fullmatch(text) is not None or "\ufffd" in text)
        | kernels.JOINS * (_JOINS.search(text) is not None or word in _PARTS_OF_CONNECTORS)
        | kernels.JOINS_ALONE * (text in (" or", " nor", " Or", " OR", "/", " /"))
        | kernels.CODE * (word in _OPERATORS)
        | kernels.BLANK * (not word)
        | kernels.POINT * (text == ".")
        | kernels.QUOTE * (word in ('"', "'"))
    )


def _behind(text: str) -> int:
    word = text.strip()
    return (
        _common(text)
        | kernels.CODE * (_CODE_BEHIND_A_WORD.match(text) is not None)
        | kernels.AFTER_POINT * (text[:1].isalnum() or text[:1] == "_")
        | kernels.AFTER_QUOTE * (text.lstrip()[:1] in (":", "=", "]", ")", "}", ">") and word != "")
        | kernels.SYMBOL * (word[:1].isdigit() or text[:1] == "+" or word[:1] == "(")
        | kernels.CONTINUES * text.isalpha()
        | kernels.PARTICIPLE * (languages.may_end_a_participle(text))
    )


def _before(text: str) -> int:
    return (
        _common(text)
        | kernels.CODE * (text.strip().lower() in _KEYWORDS)
        | kernels.TOUCHES * (_CODE_BEFORE_A_WORD.search(text) is not None)
        | kernels.AFTER_QUOTE * text.endswith(("=", "(", "[", "{", ":"))
        | kernels.SYMBOL * (text[-1:].isalnum() or text.endswith((",", "(", "/", ";", "–", "-", "%")))
        | kernels.PRONOUN_SET * text.rstrip().endswith("/")
        | kernels.FREE_OPENING * text.startswith(" ")
    )


def _weight(text: str) -> int:
    word = text.strip().lower()
    if word in languages.ENGLISH:
        return 1
    foreign = any(character.isalpha() and not character.isascii() for character in word) or word in languages.FOREIGN
    return -int(foreign or _SIGN_OF_CODE.search(text) is not None)
