"""What single tokens tell of the words beside them, so that text is read only where a rule may hold.

Legend: V tokens in the vocabulary. A bit too many costs time; one too few would make a rule depend on how a vocabulary
cuts the text. That is so of one rule only: a neighbour tells of another language where it is a single token.
"""

import re
from collections.abc import Callable, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerBase

from interventions import flags
from interventions.independence import KNOWN_BEHIND_HIS
from interventions.lexicon import PRONOUNS
from interventions.rules import acronyms, code, coordination, languages, symbols, titles
from interventions.vocabulary import Joint, Vocabulary, canonical_tokens_of_all

_GROUPS = (flags.MASCULINE, flags.FEMININE, flags.MASCULINE_TITLE, flags.FEMININE_TITLE)
_PASSES = re.compile(r"(?:[^\w.!?;:]|_)+")
_JOINS = re.compile(r"[/\\&+,|(\[–-]")
_PARTS_OF_CONNECTORS = {word[i:j] for word in ("or", "nor", "and") for i in range(3) for j in range(i + 1, 4)}
_PARTS_OF_CONTRACTIONS = {mark + word for word in (*coordination.CONTRACTED, "l") for mark in ("", "'")}
_CODE_BEHIND_A_WORD = re.compile(r"[=@$%`\\(\[/]|->|:|[\"']\s?[:=\])}>]| $")
_CODE_BEFORE_A_WORD = re.compile(r"(?:[$@#%&\\=~^`/{<>*:?\])]|->|[^.]\.|^\.|[=:(\[{]\s?[\"']|(?:^|\S)[\[(][\"']?)$")
_BYTES_OF_OTHER_LETTERS = {*range(0xC3, 0xE2), *range(0xE3, 0xEE)}  # that begin them; 0xC2 and 0xE2 begin signs
_SIGN_OF_CODE = re.compile(r"[{}\\_<>\[\]=]|\(\)|->|::|\):|\);")


def tokens_behind(tokenizer: PreTrainedTokenizerBase, vocabulary: Vocabulary) -> NDArray[np.uint32]:
    """(V,) the bits of each token as the one behind a word."""
    bits = np.array([_behind(text) for text in _texts(vocabulary)], np.uint32)
    nouns = (*titles.NOUNS, *titles.CAPITALISED_NOUNS, *titles.QUALITIES)
    pieces = flags.FIRST_OF_TITLE, flags.SECOND_OF_TITLE
    _mark(bits, flags.TITLE, _spelled(nouns, tokenizer, vocabulary, cases=(str, str.upper)), pieces)
    _mark(bits, flags.TITLE, _spelled(titles.NOUNS, tokenizer, vocabulary), pieces)
    _mark(bits, flags.OPENS_TITLE, _spelled(titles.ADJECTIVES, tokenizer, vocabulary), pieces)
    _mark(bits, flags.LANGUAGE, _spelled(languages.FOREIGN, tokenizer, vocabulary), None)
    _mark(bits, flags.LISTED_WORD, _spelled(symbols.LISTED, tokenizer, vocabulary, cases=(str,)))
    words = {
        flags.SYMBOL: (*symbols.HELIUM_NOUNS, *symbols.HISTIDINE_NOUNS, *symbols.BEHIND_AUTHORS),
    } | dict(zip(_GROUPS, coordination.GROUPS, strict=True))
    for bit, them in words.items():
        _mark(bits, bit, _spelled(them, tokenizer, vocabulary))
    for ids in _spelled(KNOWN_BEHIND_HIS, tokenizer, vocabulary):
        bits[list(ids[1:])] |= flags.LATER_PIECE
    bits[vocabulary.opening == Joint.FREE] |= flags.FREE_OPENING
    bits[vocabulary.ends_document] = flags.FREE_OPENING
    return bits


def tokens_before(tokenizer: PreTrainedTokenizerBase, vocabulary: Vocabulary) -> NDArray[np.uint32]:
    """(V,) the bits of each token as the one before a word; `FREE_OPENING` is that of a token led by a space."""
    bits = np.array([_before(text) for text in _texts(vocabulary)], np.uint32)
    words = {flags.SYMBOL: symbols.BEFORE}
    abbreviated = (f"{title}{point}" for title in symbols.ABBREVIATED_TITLES for point in ("", "."))
    before_names = (*symbols.TITLES_OF_NAMES, *abbreviated)
    _mark(bits, flags.SYMBOL, [ids[::-1] for ids in _spelled(before_names, tokenizer, vocabulary, cases=(str,))])
    keywords = _spelled(code.KEYWORDS, tokenizer, vocabulary, cases=(str,))
    _mark(bits, flags.CODE, [ids[::-1] for ids in keywords])
    _mark(bits, flags.LISTED_WORD, [ids[::-1] for ids in _spelled(symbols.LISTED, tokenizer, vocabulary, cases=(str,))])
    led = _spelled(languages.FOREIGN, tokenizer, vocabulary, leads=(" ",))
    led += _spelled(languages.FOREIGN, tokenizer, vocabulary, cases=(str.capitalize,))
    _mark(bits, flags.LANGUAGE, led, None)
    for bit, them in (words | dict(zip(_GROUPS, coordination.GROUPS, strict=True))).items():
        _mark(bits, bit, [ids[::-1] for ids in _spelled(them, tokenizer, vocabulary)])
    bits[vocabulary.ends_document] = 0
    return bits


def _mark(
    bits: NDArray[np.uint32],
    bit: np.uint32,
    words: Sequence[tuple[int, ...]],
    pieces: tuple[np.uint32, np.uint32] | None = (flags.FIRST_PIECE, flags.SECOND_PIECE),
) -> None:
    """Set `bit` at words of one token, and `pieces` at the first two tokens of others, which None leaves out."""
    for ids in words:
        if len(ids) == 1:
            bits[ids[0]] |= bit
        elif pieces is not None:
            bits[ids[0]] |= pieces[0]
            bits[ids[1]] |= pieces[1]


def weights_of_english(vocabulary: Vocabulary) -> NDArray[np.int8]:
    """(V,) 1 for a frequent word of English, -1 for a sign of another language or of code, else 0."""
    return np.array([_weight(token) for token in vocabulary.tokens], np.int8)


def alerts(forms: Sequence[str], leads: Sequence[str]) -> NDArray[np.uint32]:
    """Bits of the rules that may hold for each spelling, by its form and the character that leads it."""
    return np.array([_alert(form, lead) for form, lead in zip(forms, leads, strict=True)], np.uint32)


def opposite_bits(forms: Sequence[str]) -> NDArray[np.uint32]:
    """The bit of the words that each form may be coordinated with; 0 where there are none."""
    bit_of = dict(zip(coordination.GROUPS, _GROUPS, strict=True))
    others = [coordination.opposites(form) for form in forms]
    return np.array([bit_of[them] if them else 0 for them in others], np.uint32)


def _alert(form: str, lead: str) -> np.uint32:
    word = form.lower()
    pronoun = word in PRONOUNS
    return (
        flags.CODE
        | flags.COORDINATION * bool(coordination.opposites(word))
        | (flags.TITLE | flags.PRONOUN_SET) * (word in ("his", "her"))
        | flags.CAPITALS * acronyms.may_be_acronym(form)
        | flags.SYMBOL * (form == "His" or form in symbols.AUTHORS)
        | flags.LISTED * (word == "he" or form == "His")
        | flags.LANGUAGE * pronoun
        | flags.TOUCHES * (lead != " ")
    )


def _texts(vocabulary: Vocabulary) -> Iterable[str]:
    return (token.decode("utf-8", "replace") for token in vocabulary.tokens)


def _spelled(
    words: Iterable[str],
    tokenizer: PreTrainedTokenizerBase,
    vocabulary: Vocabulary,
    *,
    cases: Sequence[Callable[[str], str]] = (str, str.lower, str.capitalize, str.upper),
    leads: Sequence[str] = ("", " "),
) -> list[tuple[int, ...]]:
    """The tokens of each word in each case, bare and led by a space."""
    texts = {f"{lead}{case(word)}" for word in words for case in cases for lead in leads}
    return canonical_tokens_of_all(sorted(texts), tokenizer, vocabulary)


def _common(text: str) -> np.uint32:
    """Bits that do not depend on the side."""
    word = text.strip().lower()
    return (
        flags.AND * (word == "and")
        | flags.PASSES
        * (_PASSES.fullmatch(text) is not None or "\ufffd" in text or text.lower() in _PARTS_OF_CONTRACTIONS)
        | flags.JOINS * (_JOINS.search(text) is not None or word in _PARTS_OF_CONNECTORS - {"and"})
        | flags.JOINS_ALONE * (text in (" or", " nor", " Or", " OR", "/", " /"))
        | flags.BLANK * (not word)
        | flags.POINT * (text == ".")
        | flags.QUOTE * (word in ('"', "'", "-", ":"))
    )


def _behind(text: str) -> np.uint32:
    word = text.strip()
    return (
        _common(text)
        | flags.CODE * (word.startswith(code.OPERATORS) or _CODE_BEHIND_A_WORD.match(text) is not None)
        | flags.AFTER_POINT * (text[:1].isalnum() or text[:1] == "_")
        | flags.AFTER_QUOTE * (text.lstrip()[:1] in (":", "=", "]", ")", "}", ">") and word != "")
        | flags.SYMBOL * (word[:1].isdigit() or word.startswith(("+", "$", ",", "(", "&")) or text == " ")
        | flags.CONTINUES * (text.isalpha() or text.startswith("-"))
        | flags.PARTICIPLE * (languages.may_end_a_participle(text))
    )


def _before(text: str) -> np.uint32:
    word = text.strip().lower()
    return (
        _common(text)
        | flags.CODE * text.endswith(code.OPERATORS)
        | flags.JOINS * text.endswith((")", "]"))
        | flags.TOUCHES * (_CODE_BEFORE_A_WORD.search(text) is not None)
        | flags.AFTER_QUOTE * text.endswith(("=", "(", "[", "{", ":", ">"))
        | flags.SYMBOL * text.rstrip().endswith(("%", "$", "^", "}", "3", "4"))
        | flags.PRONOUN_SET * text.rstrip().endswith("/")
        | flags.FREE_OPENING * text.startswith(" ")
        | flags.ENDS_IN_LETTER * text[-1:].isalnum()
        | flags.S_OF_SHE * (word in ("s", "'s"))
        | flags.OF * (word in ("of", "f"))
    )


def _weight(token: bytes) -> int:
    text = token.decode("utf-8", "replace")
    word = text.strip().lower()
    if word in languages.ENGLISH:
        return 1
    foreign = not _BYTES_OF_OTHER_LETTERS.isdisjoint(token) or word in languages.FOREIGN
    return -int(foreign or _SIGN_OF_CODE.search(text) is not None)
