"""The checksums of PyTorch's archives, which `torch.load` passes over where it maps a file into memory."""

import struct
import zipfile
import zlib
from pathlib import Path

# what zipfile raises for an archive with altered bytes, wherever they are
_UNREADABLE = (
    zipfile.BadZipFile,
    EOFError,
    LookupError,
    NotImplementedError,
    OSError,
    OverflowError,
    RuntimeError,
    ValueError,
    struct.error,
    zlib.error,
)


def find_damage(file: Path) -> str | None:
    """What is wrong with an archive that `torch.save` wrote; None where every part has its checksum.

    Reads all of it. Files of the kind before PyTorch 1.6 have no checksums: of them None says nothing.
    """
    if not zipfile.is_zipfile(file):
        return None
    try:
        with zipfile.ZipFile(file) as archive:
            damaged = archive.testzip()
    except _UNREADABLE as error:
        return str(error).partition("\n")[0] or type(error).__name__
    return None if damaged is None else f"the checksum of its part {damaged} is another"
