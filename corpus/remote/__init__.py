"""Files on the hub or on any web server, read like local ones: by range requests, through a store of blocks on disk."""

from corpus.remote.blocks import BlockStore
from corpus.remote.files import RemoteFiles
from corpus.remote.listing import is_remote, remote_place

__all__ = ["BlockStore", "RemoteFiles", "is_remote", "remote_place"]
