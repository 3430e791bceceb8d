"""Whom the agent believes: the check of the server's CA against the checksum of the manifest.

Source: clusters-and-agents §2.4. The CA is fetched without verification and believed only when its digest is
the one that the registration manifest pinned; every later connection is verified against it. The check runs
at the start and before every new tunnel, so that a server that shows another CA gets no token.
"""

from __future__ import annotations

import hashlib
import hmac
import ssl

import msgspec

from outrider.agent.errors import FetchError, TrustError, UntrustedError
from outrider.agent.fetch import fetch

_PATH = "/v3/settings/cacerts"


class _Setting(msgspec.Struct):
    """The part of a setting that is looked at."""

    value: str = ""


def checksum(pem: str) -> str:
    """Lower-case hex sha256 of the PEM with exactly one trailing newline."""
    return hashlib.sha256((pem.rstrip("\n") + "\n").encode()).hexdigest()


class Trust:
    """Makes the TLS context for connections to the server.

    `strict`: only the pinned CA counts; else the system's CAs are believed beside it. Without a checksum the
    system's CAs alone count, and verification is never off.
    """

    def __init__(
        self, server: str, *, expected: str = "", strict: bool = False, proxy: str = "", timeout: float = 10.0
    ) -> None:
        self._server = server
        self._expected = expected
        self._strict = strict
        self._proxy = proxy
        self._timeout = timeout

    async def establish(self) -> ssl.SSLContext:
        """Checks the CA now and returns the context to dial with.

        Raises TrustError when the CA is not the pinned one, FetchError when the server cannot be asked.
        """
        if not self._expected:
            return client_context("", system=True)
        return client_context(await self._checked_ca(), system=not self._strict)

    async def _checked_ca(self) -> str:
        pem = await self._fetch_ca()
        if not hmac.compare_digest(checksum(pem), self._expected):
            raise TrustError(
                f"the CA that {self._server}{_PATH} shows has the sha256 {checksum(pem)}, but the"
                f" registration manifest pins {self._expected} (CATTLE_CA_CHECKSUM). Either the CA was replaced:"
                " apply the cluster's registration command again; or this is not the server that the agent"
                " belongs to."
            )
        return pem

    async def would_be_strict(self) -> bool | None:
        """Whether the server's certificate holds against the pinned CA alone; None: there is no pinned CA.

        This is what somebody wants to know before setting agent-tls-mode to strict. Raises TrustError, FetchError
        when the server cannot be asked.
        """
        if not self._expected:
            return None
        pem = await self._checked_ca()
        try:
            await fetch(f"{self._server}/ping", client_context(pem, system=False), proxy=self._proxy)
        except UntrustedError:
            return False
        return True

    async def _fetch_ca(self) -> str:
        url = self._server + _PATH
        answer = await fetch(url, unverified_context(), proxy=self._proxy, timeout=self._timeout)
        if answer.status != 200:
            raise FetchError(f"GET {url}: answered {answer.status}; is this the management server?")
        try:
            pem = msgspec.json.decode(answer.body, type=_Setting).value
        except (msgspec.MsgspecError, ValueError, RecursionError):
            raise FetchError(f"GET {url}: not a setting; is this the management server?") from None
        if not pem.strip():
            raise TrustError(
                f"the manifest pins a CA (CATTLE_CA_CHECKSUM), but the setting cacerts of {self._server} is"
                " empty. Apply the cluster's registration command again."
            )
        return pem


def client_context(pem: str, *, system: bool) -> ssl.SSLContext:
    """A verifying client context, TLS 1.2 or later. Raises TrustError when `pem` holds no certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # As Go does: a pinned intermediate or self-signed server certificate is an anchor of its own.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    if system:
        context.load_default_certs()
    if pem:
        try:
            context.load_verify_locations(cadata=pem)
        except (ssl.SSLError, ValueError) as error:
            raise TrustError(f"the server's CA is not a PEM certificate ({error})") from None
    return context


def unverified_context() -> ssl.SSLContext:
    """Only for what is checked by its digest afterwards; nothing secret may be sent over it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
