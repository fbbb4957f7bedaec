"""Files on the hub or on any web server, read like local ones: by range requests, through a store of blocks on disk."""

from corpus.remote.blocks import BlockStore
from corpus.remote.files import RemoteFiles
from corpus.remote.listing import check_model_on_hub, is_remote, remote_place

__all__ = ["BlockStore", "RemoteFiles", "check_model_on_hub", "is_remote", "remote_place"]
