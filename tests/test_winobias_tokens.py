import pytest

from eval.winobias import tokens
from eval.winobias.sentences import FILES
from eval.winobias.tokens import Tokens, load_tokens, read_conll, tabulate_tokens, tokenize
from foundation import UserError

LINES = [
    "1 [The farmer] sang to the nurse while [he] cooked.",
    "2 The farmer sang to [the nurse] and praised [her].",
]
TWINS = [
    "1 [The farmer] sang to the nurse while [she] cooked.",
    "2 The farmer sang to [the nurse] and praised [him].",
]


def document(number, sentence):
    """A CoNLL document with the columns of WinoBias's files."""
    marks = ["-"] * len(sentence.tokens)
    for first, last in sentence.mentions:
        if first == last:
            marks[first] = "(1)"
        else:
            marks[first], marks[last] = "(1", "1)"
    name = f"nw/invented//{number}"
    rows = [
        "\t".join([name, "0", str(i), token, *"-----", "Speaker#1", *"****", mark])
        for i, (token, mark) in enumerate(zip(sentence.tokens, marks, strict=True))
    ]
    return "\n".join([f"#begin document ({name}); part 000", *rows, "", "#end document", ""])


def write_conll(file, lines):
    """As published: documents in the order of their numbers as text."""
    numbers = sorted(range(len(lines)), key=str)
    file.write_text("".join(document(number, tokenize(lines[number])) for number in numbers))


@pytest.mark.parametrize(
    ("line", "text", "mentions"),
    [
        (LINES[0], "The farmer sang to the nurse while he cooked .", ((0, 1), (7, 7))),
        (
            "7 The cook's hat, or [the construction worker]'s, didn't fit [him].",
            "The cook 's hat , or the construction worker 's , did n't fit him .",
            ((6, 8), (14, 14)),
        ),
        (
            "8 [The CEO] paid the baker's son 2,000 coins for well-fitting hats as [she] sat on [her] chair .",
            "The CEO paid the baker 's son 2,000 coins for well-fitting hats as she sat on her chair .",
            ((0, 1), (13, 13), (16, 16)),
        ),
        ("9 The cook met the [ baker] and fed [him].", "The cook met the baker and fed him .", ((4, 4), (7, 7))),
        (
            "9 The cook met the [the baker] and fed [him].",
            "The cook met the the baker and fed him .",
            ((4, 5), (8, 8)),
        ),
    ],
)
def test_lines_are_tokenised_and_their_mentions_kept(line, text, mentions):
    sentence = tokenize(line)
    assert sentence.text == text
    assert sentence.mentions == mentions


def test_a_sentence_knows_its_referent_and_is_cut_at_its_first_pronoun():
    sentence = tokenize("5 [The construction worker] left the clerk as [he] cut [his] hand.")
    assert sentence.referent == "The construction worker"
    assert (sentence.cut.before, sentence.cut.pronoun, sentence.cut.after) == (
        "The construction worker left the clerk as",
        "he",
        " cut his hand .",
    )
    assert sentence.cut.text == sentence.text


def test_conll_documents_are_the_lines_of_their_number(monkeypatch, tmp_path):
    lines = [f"{i + 1} [The farmer] fed the nurse while [he] sang {i} songs." for i in range(12)]
    monkeypatch.setattr(tokens, "SENTENCES_PER_FILE", 12)
    file = tmp_path / "invented"
    write_conll(file, lines)
    assert "//10)" in file.read_text().split("#begin")[3]
    assert read_conll(file) == [tokenize(line) for line in lines]


def test_either_kind_of_file_gives_the_same_table(monkeypatch, tmp_path):
    monkeypatch.setattr(tokens, "SENTENCES_PER_FILE", 2)
    monkeypatch.setattr(tokens, "load_lines", lambda directory: LINES * 4 + TWINS * 4)
    for condition, kind, split in FILES:
        lines = LINES if condition == "pro" else TWINS
        write_conll(tmp_path / f"{split}_type{kind}_{condition}_stereotype.v4_auto_conll", lines)
    table = load_tokens(tmp_path)
    assert table.equals(load_tokens(None))
    assert table.iloc[3].to_dict() == {
        "condition": "pro",
        "type": 1,
        "split": "test",
        "line": 2,
        "text": "The farmer sang to the nurse and praised her .",
        "referent": "the nurse",
        "occupation": "nurse",
        "pronoun": "her",
        "case": "object",
    }


def test_the_case_of_her_is_told_by_the_twin():
    pro = ["1 The cook met [the baker] and hid [her] hat."] * 4
    anti = ["1 The cook met [the baker] and hid [his] hat."] * 4
    table = tabulate_tokens([tokenize(line) for line in pro + anti])
    assert set(table["case"]) == {"possessive"}


def test_a_conll_file_with_other_documents_is_refused(tmp_path):
    write_conll(tmp_path / "two", LINES)
    with pytest.raises(UserError, match="two has 2 documents, expected 396, numbered from 0"):
        read_conll(tmp_path / "two")


def test_a_document_without_a_pronoun_is_refused(tmp_path):
    (tmp_path / "one").write_text(document(0, Tokens(("The", "cook", "sang", "."), ((0, 1),))))
    with pytest.raises(UserError, match=r"//0\); part 000 has 1 beginnings and 1 ends of mentions"):
        read_conll(tmp_path / "one")


def test_a_directory_that_lacks_a_conll_file_is_refused(monkeypatch, tmp_path):
    monkeypatch.setattr(tokens, "SENTENCES_PER_FILE", 2)
    write_conll(tmp_path / "dev_type1_pro_stereotype.v4_auto_conll", LINES)
    with pytest.raises(UserError, match=r"there is no file .*test_type1_pro_stereotype.v4_auto_conll"):
        load_tokens(tmp_path)
