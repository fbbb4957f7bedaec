"""A web server whose answers break off."""

import collections
import contextlib
import http.server
import multiprocessing
import socket
import sys
import threading
from typing import Any, ClassVar

from perf.data_path import RangeHandler

SHARD_BYTES = 12 << 20  # of each file that is fetched
LINK_BYTES_PER_S = 8e6  # of one connection: a fetch takes long enough to be disturbed


class Server(http.server.ThreadingHTTPServer):
    """A server that clients may leave at any moment."""

    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


class FailingHandler(RangeHandler):
    """Hangs up after as many bytes as `drops` says next, answer by answer; at once, while `away` is set.

    Sets `asked` when it is asked for something.
    """

    counts = multiprocessing.Array("q", 2)
    bytes_per_s = LINK_BYTES_PER_S
    drops: ClassVar[collections.deque[int]] = collections.deque()
    away = threading.Event()
    asked = threading.Event()

    def do_HEAD(self) -> None:
        self.asked.set()
        if self.away.is_set():
            return self.hang_up()
        super().do_HEAD()

    def do_GET(self) -> None:
        if self.away.is_set():
            return self.hang_up()
        if not self.drops:
            return super().do_GET()
        sent = self.drops.popleft()
        path, first, last = self.announce()
        self.wfile.write(path.read_bytes()[first : min(first + sent, last + 1)])
        self.hang_up()

    def hang_up(self) -> None:
        self.close_connection = True
        with contextlib.suppress(OSError):
            self.wfile.flush()
            self.connection.shutdown(socket.SHUT_RDWR)
