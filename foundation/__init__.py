"""What every part stands on: errors a user can mend, files that are never half-written, data of known origin."""

from foundation.errors import UserError
from foundation.files import (
    atomic_directory,
    atomic_file,
    cache_directory,
    exclusive,
    remove_directory,
    remove_leftovers,
    remove_unfinished,
    sha256_of_file,
    write_bytes,
    write_text,
)
from foundation.sources import SOURCES, Package, Source, fetch

__all__ = [
    "SOURCES",
    "Package",
    "Source",
    "UserError",
    "atomic_directory",
    "atomic_file",
    "cache_directory",
    "exclusive",
    "fetch",
    "remove_directory",
    "remove_leftovers",
    "remove_unfinished",
    "sha256_of_file",
    "write_bytes",
    "write_text",
]
