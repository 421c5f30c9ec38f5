"""A file from a URL, with its checksum computed while it is written.

Bounded in bytes, in silence and in whole time. Redirects are followed to http and https only, so that
a server cannot make this node read its own files.
"""

from __future__ import annotations

import hashlib
import http.client
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Final

from pvc_gitops.errors import DownloadError

SILENCE_S: Final = 30  # a server that says nothing for so long is not answering
WHOLE_LIMIT_S: Final = 4 * 3600  # 50 GiB at 4 MiB/s
SIZE_BYTES_MAX: Final = 100 << 30  # larger than any published system image; stops an endless answer
SPARE_BYTES: Final = 1 << 30  # left free on the file system, for the node's own journal and stores
_CHUNK_BYTES: Final = 1 << 20
_ALGORITHMS: Final = frozenset({"sha256", "sha512"})
_SCHEMES: Final = frozenset({"http", "https", "file"})


def fetch(url: str, target: Path, *, checksum: str, progress: Callable[[float], None]) -> None:
    """Write the URL's content to `target`, and raise DownloadError unless it has the checksum, which is
    `ALGORITHM:HEX`, sha256 or sha512. `progress` is told 0 to 1 where the length is known."""
    algorithm, _, wanted = checksum.partition(":")
    if algorithm not in _ALGORITHMS:
        raise _error(url, f"checksum {checksum!r} is not sha256:… or sha512:…", retryable=False)
    if url.partition(":")[0] not in _SCHEMES:
        raise _error(url, "only http, https and file URLs are read", retryable=False)
    digest, received = hashlib.new(algorithm), 0
    try:
        with _opener().open(url, timeout=SILENCE_S) as answer, target.open("wb") as out:
            expected = _expected_bytes(url, answer.headers.get("Content-Length"), target)
            for chunk in _chunks(url, answer):
                digest.update(chunk)
                received += out.write(chunk)
                if expected:
                    progress(min(received / expected, 1.0))
    except urllib.error.HTTPError as err:
        err.close()  # it holds the connection
        may_pass = err.code >= http.HTTPStatus.INTERNAL_SERVER_ERROR
        raise _error(url, f"the server says {err.code} {err.reason}", retryable=may_pass) from err
    except urllib.error.URLError as err:
        raise _error(url, f"unreachable: {err.reason}", retryable=True) from err
    except (OSError, http.client.HTTPException) as err:
        raise _error(url, f"broken off: {err or type(err).__name__}", retryable=True) from err
    if expected is not None and received != expected:
        raise _error(url, f"broken off after {received} of {expected} bytes", retryable=True)
    if digest.hexdigest() != wanted.lower():
        raise _error(
            url,
            f"has {algorithm}:{digest.hexdigest()}, declared is {checksum}; nothing was kept. "
            "If the image was published anew, declare a new Image with the new checksum",
            retryable=False,
        )


def _opener() -> urllib.request.OpenerDirector:
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.FileHandler(),
        urllib.request.HTTPRedirectHandler(),  # http, https and ftp, of which the last has no handler
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
        urllib.request.UnknownHandler(),
    ):
        opener.add_handler(handler)
    return opener


def _expected_bytes(url: str, header: str | None, target: Path) -> int | None:
    if header is None or not header.isdecimal():
        return None
    size_bytes = int(header)
    if size_bytes > SIZE_BYTES_MAX:
        raise _error(url, f"has {size_bytes} bytes, {SIZE_BYTES_MAX} is the most", retryable=False)
    free = shutil.disk_usage(target.parent).free - SPARE_BYTES
    if size_bytes > free:
        raise _error(
            url,
            f"has {size_bytes} bytes, {target.parent} has room for {max(free, 0)}",
            retryable=True,
        )
    return size_bytes


def _chunks(url: str, answer: IO[bytes]) -> Iterator[bytes]:
    """What the server sends, until it ends or a bound is passed."""
    until = time.monotonic() + WHOLE_LIMIT_S
    received = 0
    while chunk := answer.read(_CHUNK_BYTES):
        received += len(chunk)
        if received > SIZE_BYTES_MAX:
            raise _error(url, f"has more than {SIZE_BYTES_MAX} bytes", retryable=False)
        if time.monotonic() > until:
            raise _error(url, f"not done after {WHOLE_LIMIT_S} s", retryable=True)
        yield chunk


def _error(url: str, reason: str, *, retryable: bool) -> DownloadError:
    return DownloadError("download", url, reason, retryable=retryable)
