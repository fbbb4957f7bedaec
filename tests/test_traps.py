"""No intervention touches a part of a word: traps, code, other languages."""

import re
import sysconfig
from pathlib import Path

import numpy as np
import pytest

from interventions import load_intervention
from sample_corpus import word_tokenizer
from test_vocabulary import END, byte_level_tokenizer, decoded

WORD = re.compile(r"[^\W_]+(?:[\u0300-\u036f]+[^\W_]*)*|_+|[^\w]", re.UNICODE)
SWAPPED = {"he", "him", "his", "himself", "she", "her", "hers", "herself"}
SWAPPED |= {case(word) for word in SWAPPED for case in (str.capitalize, str.upper)}
TRAPS = (
    "sheds hertz heuristic Cheryl Sheikh Hezbollah other the HER2 HEROES HISTORY history himalaya usher shepherd he_x "
    "x_he _his_ he2 2he he\u0301 Hé heñ 漢he he字 wherever Mujahedeen br·heuristic dishwashers mother's brother’s "
    "hers truly he's He’s (he) “She” 'tis his--hers she/x.he self.her her() obj.him http://her.example/his?he=she&him "
    "he-man x-he- she-wolf Her\nHis\n\nshe\the  she   her    his"
)
OTHER_LANGUAGES = (
    "No he visto a nadie; he dicho que no. Les livres sont hers de prix. Er kam her und ging hin und her. His rebus "
    "gestis heri. Hün she’er él. Ő he. Его his. ἥ he. 他he她she"
)
TOKENIZERS = [byte_level_tokenizer(257), byte_level_tokenizer(700, added=("   ", "  ")), word_tokenizer()]
ARMS = ("masculine_to_feminine", "feminine_to_masculine", "swap", "shuffled")


class AlwaysObject:
    identity = "object"
    facts: dict = {}  # noqa: RUF012

    def __call__(self, rows, matches):
        return np.ones(len(matches), bool)


def changes(arm, tokenizer, text, width):
    """Words before and after, wherever they differ; the text is cut into rows of `width` tokens."""
    ids = tokenizer.encode(text)
    ids += tokenizer.encode(END) * (-len(ids) % width)
    rows = np.array(ids, np.uint16).reshape(-1, width)
    changed, ledger = arm(rows, first_row=0)
    before, after = (decoded(tokenizer, side.reshape(-1)) for side in (rows, changed))
    old, new = WORD.findall(before), WORD.findall(after)
    assert len(old) == len(new)
    found = [(a, b) for a, b in zip(old, new, strict=True) if a != b]
    assert len(found) == sum(outcome == 0 for outcome in ledger.outcome)
    return found


@pytest.mark.parametrize("width", [7, 64, 4096])
@pytest.mark.parametrize("name", ARMS)
@pytest.mark.parametrize("tokenizer", TOKENIZERS, ids=["bytes", "pieces", "words"])
@pytest.mark.parametrize("text", [TRAPS, OTHER_LANGUAGES], ids=["traps", "languages"])
def test_only_whole_words_change(text, tokenizer, name, width):
    arm = load_intervention(name, tokenizer=tokenizer, reads_her=AlwaysObject())
    for before, after in changes(arm, tokenizer, text, width):
        assert before in SWAPPED
        assert after in SWAPPED


def test_the_right_words_of_the_traps_change():
    arm = load_intervention("masculine_to_feminine", tokenizer=TOKENIZERS[2])
    assert changes(arm, TOKENIZERS[2], TRAPS, 4096) == [
        *(("his", "her"), ("he", "she"), ("He", "She"), ("he", "she"), ("his", "her"), ("His", "Her"), ("he", "she")),
        ("his", "hers"),
    ]


@pytest.mark.parametrize("tokenizer", TOKENIZERS[1:], ids=["pieces", "words"])
def test_code_keeps_its_identifiers(tokenizer):
    sources = sorted(Path(sysconfig.get_paths()["stdlib"]).glob("*.py"))[:40]
    text = END.join(path.read_text("utf-8", "replace")[:20_000] for path in sources)
    arm = load_intervention("swap", tokenizer=tokenizer, reads_her=AlwaysObject())
    found = changes(arm, tokenizer, text, 2049)
    assert {word for pair in found for word in pair} <= SWAPPED
