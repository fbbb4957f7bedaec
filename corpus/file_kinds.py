"""What a file is by its first bytes, whatever it is called: what is read as text or as tokens must not be another."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class FileKind:
    """A kind of file that holds neither plain text nor plain tokens.

    Attributes:
        name: with its article.
        remedy: what to do with it.
    """

    name: str
    remedy: str


_UNPACK = "unpack it first"
_WRITE_BIN = "write its tokens as little-endian uint16 and nothing else (NumPy: array.astype('<u2').tofile('rows.bin'))"
_POINTER = FileKind("a pointer of git-lfs, not the file itself", "run `git lfs pull` where it was cloned")
_PAGE = FileKind("a page of the web", "fetch the file itself: a link to a page leads to its text, not to what it shows")
_BEGINNINGS = {
    b"\x93NUMPY": FileKind("a NumPy array with its header", _WRITE_BIN),
    b"MMIDIDX\x00\x00": FileKind("a Megatron index", "name the .bin that it belongs to"),
    b"TNTIDX\x00\x00": FileKind("a fairseq index", "name the .bin of a corpus that was preprocessed with mmap"),
    b"version https://git-lfs": _POINTER,
    b"\x1f\x8b\x08": FileKind("compressed by gzip", _UNPACK),
    b"\x28\xb5\x2f\xfd": FileKind("compressed by zstd", _UNPACK),
    b"\xfd7zXZ\x00": FileKind("compressed by xz", _UNPACK),
    b"BZh91AY&SY": FileKind("compressed by bzip2", _UNPACK),
    b"PK\x03\x04": FileKind("a zip archive (.zip, .npz, .pt and .docx are)", _UNPACK),
    b"PAR1": FileKind("a Parquet table", "write its texts, or its tokens, to a plain file first"),
    b"ARROW1": FileKind("an Arrow table", "write its texts, or its tokens, to a plain file first"),
    b"SQLite format 3\x00": FileKind("an SQLite database", "write its texts to a plain file first"),
    b"%PDF-": FileKind("a PDF", "extract its text first"),
    b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.": FileKind("an object that PyTorch saved", _WRITE_BIN),
    b"\x88\xd84\x01": FileKind("a shard of llm.c with its header of 1,024 bytes", "cut it off (tail -c +1025)"),
}
_PAGES = (b"<!doctype html", b"<html")
_READ = 64


def find_kind(path: Path) -> FileKind | None:
    """The kind of a file; None where its first bytes are those of no kind that is known."""
    with path.open("rb") as file:
        beginning = file.read(_READ)
    if beginning.lstrip().lower().startswith(_PAGES):
        return _PAGE
    return next((kind for known, kind in _BEGINNINGS.items() if beginning.startswith(known)), None)
