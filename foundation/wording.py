"""Quantities in words."""


def size_text(num_bytes: int) -> str:
    """A number of bytes in the unit that suits it (10^9 bytes are a gigabyte)."""
    for unit, size in (("TB", 10**12), ("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if num_bytes >= size:
            return f"{num_bytes / size:.4g} {unit}"
    return f"{num_bytes} bytes"
