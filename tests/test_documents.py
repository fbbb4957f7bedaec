"""What of a text file becomes a document."""

import gzip
import json

import pytest

from corpus import build_corpus
from corpus.documents import read_documents
from foundation import UserError

END = "<|endoftext|>"


def read(tmp_path, content, name="text.txt"):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_documents(path)


@pytest.mark.parametrize(
    "inside", ["\u2028", "\u2029", "\x85", "\x0c", "\x0b", "\x1c", "\x1d", "\x1e", "\r", "\t", "\u00a0"]
)
def test_only_a_line_feed_ends_a_document(tmp_path, inside):
    line = f"He said{inside}she left."
    assert read(tmp_path, f"{line}\n{line}\n\n") == [line, line]


@pytest.mark.parametrize("end", ["\n", "\r\n", f"{END}\n", f"{END}\r\n", f"{END}{END}\n", END])
def test_what_ends_a_document_is_no_part_of_it(tmp_path, end):
    assert read(tmp_path, f"One.{end}Two.{end}") == ["One.", "Two."]
    assert read(tmp_path, f"One.{end}Two.") == ["One.", "Two."]


@pytest.mark.parametrize("empty", ["", " ", "\t \x0c", "\u2028", "\r", END, f" {END}"])
def test_lines_without_a_word_are_no_documents(tmp_path, empty):
    assert read(tmp_path, f"One.\n{empty}\nTwo.\n") == ["One.", "Two."]


def test_spaces_around_a_document_are_its_own(tmp_path):
    assert read(tmp_path, "  One. \n\tTwo.") == ["  One. ", "\tTwo."]


def test_a_byte_order_mark_is_no_part_of_the_text(tmp_path):
    assert read(tmp_path, b"\xef\xbb\xbfOne.\r\nTwo.\r\n") == ["One.", "Two."]


@pytest.mark.parametrize("name", ["text.jsonl", "text.ndjson", "text.JSONL", "text.txt", "text"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_of_json_lines_the_texts_are_the_documents(tmp_path, name, end):
    texts = ["He said:\n\nshe left.", 'A "quoted" caf\u00e9', f"Two.{END}Three."]
    lines = end.join(json.dumps({"text": text, "meta": {"set": "x"}}) for text in texts)
    assert read(tmp_path, f"{lines}{end}{end}", name) == [*texts[:2], "Two.", "Three."]


@pytest.mark.parametrize(
    ("line", "part"),
    [
        ('{"content": "a", "id": 1}', "an object with content, id"),
        ('{"text": null}', "an object with text"),
        ('{"text": ["a"]}', "an object with text"),
        ('["a"]', "no JSON object"),
        ('{"text": "cut', "no JSON object"),
        ("plain text", "no JSON object"),
    ],
)
def test_json_lines_without_texts_are_refused(tmp_path, line, part):
    with pytest.raises(UserError, match=rf"line 2 of .*text\.jsonl is {part}") as caught:
        read(tmp_path, f'{{"text": "One."}}\n{line}\n', "text.jsonl")
    assert "\n" not in str(caught.value)


def test_a_text_of_which_some_lines_look_like_json_is_text(tmp_path):
    assert read(tmp_path, '{"a": 1}\nOne.\n{}\n') == ['{"a": 1}', "One.", "{}"]


def test_json_lines_with_another_field_are_not_taken_for_text(tmp_path):
    with pytest.raises(UserError, match=r"line 1 of .* is an object with body"):
        read(tmp_path, '{"body": "One."}\n{"body": "Two."}\n')


@pytest.mark.parametrize(
    ("name", "content", "part"),
    [
        ("text.csv", b"id,text\n1,One.\n", "no plain text but CSV"),
        ("text.tsv", b"id\ttext\n1\tOne.\n", "no plain text but TSV"),
        ("text.json", b'[{"text": "One."}]', "no plain text but JSON"),
        ("text.txt", gzip.compress(b"One.\n"), "compressed by gzip"),
        ("text.txt.zst", b"\x28\xb5\x2f\xfd\x00", "compressed by zstd"),
        ("text.txt", b"PAR1....", "a Parquet table"),
        ("text.txt", b"version https://git-lfs.github.com/spec/v1\noid", "a pointer of git-lfs"),
        ("text.txt", b"<!DOCTYPE html>\n<p>404", "a page of the web"),
        ("text.txt", "One.\nTwo.\n".encode("utf-16-le"), "as in UTF-16"),
        ("text.txt", "One.\n".encode("utf-16"), "is not UTF-8"),
        ("text.txt", b"caf\xe9\n", "is not UTF-8"),
        ("text.txt", f"{END}\n \n".encode(), "holds no document"),
    ],
)
def test_what_is_no_text_is_refused(tmp_path, name, content, part):
    with pytest.raises(UserError, match=part) as caught:
        read(tmp_path, content, name)
    assert str(tmp_path / name) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_every_document_of_a_corpus_ends_with_one_end_token(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    lines = [f"The baker told nurse {number} that he had lost it." for number in range(60)]
    (tmp_path / "text.txt").write_text("".join(f"{line}{END}\n" for line in lines))
    (tmp_path / "plain.txt").write_text("".join(f"{line}\n" for line in lines))
    built = [
        build_corpus(str(tmp_path / name), vocab_size=300, row_tokens=17, seed=1) for name in ("text.txt", "plain.txt")
    ]
    assert built[0].sha256 == built[1].sha256


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"text": "cut \\ud83d"}', "has half of a character"),
        ('{"text": "\\ude00 cut"}', "has half of a character"),
        ('{"text": ' + "[" * 100_000, "is no JSON object"),
    ],
)
def test_json_that_makes_no_text_is_refused_with_its_line(tmp_path, line, said):
    with pytest.raises(UserError, match=rf"line 2 of .*a\.jsonl {said}"):
        read(tmp_path, f'{{"text": "whole \\ud83d\\ude00"}}\n{line}\n', name="a.jsonl")


@pytest.mark.parametrize("page", ["<!DOCTYPE HTML PUBLIC '-//W3C'>", "\n <html lang='en'>", "<HTML>"])
def test_a_page_of_the_web_is_no_text_however_it_begins(tmp_path, page):
    with pytest.raises(UserError, match="is a page of the web, expected plain text"):
        read(tmp_path, f"{page}\n<p>text")
