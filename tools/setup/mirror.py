"""Fetches a ready-made binary from a mirror and keeps it only when its checksum is right."""

from __future__ import annotations

import hashlib
import hmac
import http.client
import os
import re
import tempfile
import urllib.parse
import urllib.request
from pathlib import Path
from typing import BinaryIO

from tools.setup.progress import SetupError

LARGEST = 1 << 30
BLOCK = 1 << 20
TIMEOUT_SECONDS = 60.0


def fetch(url: str, sha256: str, target: Path, *, largest: int = LARGEST) -> None:
    """Download ``url`` to ``target``, executable, in one step that others see whole or not at all.

    Raises ``SetupError`` when the URL is not http(s), ``sha256`` is not 64 hex digits, the answer is not
    complete, is larger than ``largest`` bytes, or does not have that checksum; nothing is kept then.
    """
    _check(url, sha256)
    target.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(prefix=".download-", dir=target.parent)
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            found = _download(url, file, largest)
        if not hmac.compare_digest(found, sha256.lower()):
            raise SetupError(
                f"the binary at {public(url)} has SHA-256 {found}, "
                f"but OUTRIDER_KUBE_SHA256 says {sha256.lower()}. "
                "It was thrown away. Correct the checksum only if you know why it changed."
            )
        temporary.chmod(0o755)
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, in lower-case hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def public(url: str) -> str:
    """The URL without what may be secret in it: user, password and query."""
    parts = urllib.parse.urlsplit(url)
    return urllib.parse.urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def _check(url: str, sha256: str) -> None:
    if urllib.parse.urlsplit(url).scheme not in {"http", "https"}:
        raise SetupError(
            "OUTRIDER_KUBE_URL must begin with https:// or http://; for a local file set OUTRIDER_KUBE"
        )
    if not re.fullmatch(r"[0-9a-fA-F]{64}", sha256):
        raise SetupError(
            "OUTRIDER_KUBE_URL needs OUTRIDER_KUBE_SHA256 beside it: the binary's SHA-256 as 64 hex digits "
            "(`sha256sum outrider-kube` prints it)"
        )


def _download(url: str, file: BinaryIO, largest: int) -> str:
    digest = hashlib.sha256()
    size = 0
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT_SECONDS) as answer:  # noqa: S310 (scheme checked above)
            promised = answer.headers.get("Content-Length")
            while block := answer.read(BLOCK):
                size += len(block)
                if size > largest:
                    raise SetupError(
                        f"{public(url)} sent more than {largest} bytes; that is no outrider-kube"
                    )
                digest.update(block)
                file.write(block)
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise SetupError(f"{public(url)} could not be fetched: {error}. Check OUTRIDER_KUBE_URL.") from error
    if promised is not None and promised.isdecimal() and size != int(promised):
        raise SetupError(f"{public(url)} promised {promised} bytes and sent {size}; run `make setup` again")
    return digest.hexdigest()
