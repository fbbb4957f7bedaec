"""The documents of a text file: one a line, or the texts of JSON lines."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from corpus.file_kinds import find_kind
from foundation import UserError

END_OF_DOCUMENT = "<|endoftext|>"

_JSON_LINES = {".jsonl", ".ndjson", ".jsonlines"}
_TABLES = {".csv", ".tsv", ".json", ".xml", ".html", ".htm", ".yaml", ".yml"}
_MOST_ZEROS = 0.1  # of the characters of a text; of English in UTF-16 half are
_SHOWN = 80  # characters of a line in a message


def read_documents(path: Path) -> list[str]:
    r"""The documents of a text file in UTF-8, without what ends them.

    A document ends at a line feed (\n, or \r\n), and at the end-of-document token where it is written out; at nothing
    else, so that a document may hold a form feed, a lone carriage return or Unicode's line separators. What holds only
    white space is none. Of JSON lines each object's "text" is a document, line feeds and all.

    Raises:
        UserError: it is no text in UTF-8, is a table or an archive, or holds no document.
    """
    if path.suffix.lower() in _TABLES:
        raise UserError(
            f"{path} is no plain text but {path.suffix[1:].upper()}, whose marks would be learned as text; write one "
            f'document a line, or JSON lines with a "text" each (.jsonl)'
        )
    kind = find_kind(path)
    if kind is not None:
        raise UserError(f"{path} is {kind.name}, expected plain text in UTF-8; {kind.remedy}")
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 ({error}); convert it first") from None
    zeros = text.count("\0")
    if zeros > _MOST_ZEROS * len(text):
        raise UserError(
            f"{path} is no text in UTF-8: {zeros} of its {len(text)} characters are zero, as in UTF-16; convert it "
            f"first (iconv -f UTF-16 -t UTF-8)"
        )
    lines = [line.removesuffix("\r") for line in text.split("\n")]
    texts = _texts_of_json(lines, path) if _is_json(lines, path) else lines
    documents = [document for text in texts for document in text.split(END_OF_DOCUMENT) if document.strip()]
    if not documents:
        raise UserError(f"{path} holds no document; write one a line")
    return documents


def _is_json(lines: list[str], path: Path) -> bool:
    """Whether every line is a JSON object, or the file's name says so."""
    written = [line for line in lines if line.strip()]
    if path.suffix.lower() in _JSON_LINES:
        return True
    return bool(written) and all(line.lstrip().startswith("{") and _object(line) is not None for line in written)


def _object(line: str) -> dict[str, Any] | None:
    try:
        content = json.loads(line)
    except (ValueError, RecursionError):  # the latter of what is nested deeply
        return None
    return content if isinstance(content, dict) else None


def _texts_of_json(lines: list[str], path: Path) -> Iterator[str]:
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        content = _object(line)
        text = None if content is None else content.get("text")
        if not isinstance(text, str):
            found = "no JSON object" if content is None else f"an object with {', '.join(sorted(content)) or 'nothing'}"
            raise UserError(
                f'line {number} of {path} is {found}, expected a JSON object whose "text" is the document: '
                f"{line[:_SHOWN]!r}; rename the field, or write one document a line into a .txt"
            )
        try:
            text.encode()
        except UnicodeEncodeError:
            raise UserError(
                f'line {number} of {path} has half of a character in its "text", as where one was cut: '
                f"{line[:_SHOWN]!r}; write that text anew, or leave the line out"
            ) from None
        yield text
