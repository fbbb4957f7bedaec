"""A process that reads rows of a remote corpus: `python fetching_process.py URL CACHE FIRST STOP` prints their hash."""

import hashlib
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from test_remote import opened

if __name__ == "__main__":
    url, cache, first, stop = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    files = opened(url, cache)
    files.expect(first, stop)
    into = bytearray(stop - first)
    for start in range(0, len(into), 1000):
        files.read(first + start, memoryview(into)[start : start + 1000])
    sys.stdout.write(hashlib.sha256(into).hexdigest())
