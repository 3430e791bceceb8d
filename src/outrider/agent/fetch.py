"""One small HTTPS GET: what the start-up check needs before any other client can be trusted."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import ssl
from urllib.parse import unquote, urlsplit

import httptools

from outrider.agent.errors import FetchError, UntrustedError

MAX_BODY = 1 << 20
_MAX_HEAD = 16 << 10


class Answer:
    """Status and body of a response; filled by the parser."""

    def __init__(self, limit: int) -> None:
        self.status = 0
        self.body = b""
        self.done = False
        self._limit = limit

    def on_body(self, data: bytes) -> None:
        """httptools callback."""
        self.body += data
        if len(self.body) > self._limit:
            raise FetchError(f"the answer is larger than {self._limit} bytes")

    def on_message_complete(self) -> None:
        """httptools callback."""
        self.done = True


async def fetch(
    url: str, context: ssl.SSLContext, *, proxy: str = "", timeout: float = 10.0, limit: int = MAX_BODY
) -> Answer:
    """GETs `url` (https) once, redirects are not followed.

    Raises FetchError when the server cannot be reached or verified, does not answer within `timeout` seconds,
    or answers with something that is not HTTP or larger than `limit` bytes.
    """
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or 443
    try:
        async with asyncio.timeout(timeout):
            reader, writer = await _connect(host, port, context, proxy)
            try:
                lines = (f"GET {parts.path or '/'} HTTP/1.1", f"Host: {parts.netloc}", "Connection: close")
                writer.write("\r\n".join((*lines, "", "")).encode())
                return await _read(reader, limit)
            finally:
                writer.close()
                # a peer that vanished is no news after the answer
                with contextlib.suppress(OSError, ssl.SSLError):
                    await writer.wait_closed()
    except TimeoutError:
        raise FetchError(f"GET {url}: no answer within {timeout:g} s") from None
    except ssl.SSLCertVerificationError as error:
        raise UntrustedError(f"GET {url}: {reason(error)}") from None
    except (OSError, ssl.SSLError, httptools.HttpParserError, EOFError, asyncio.LimitOverrunError) as error:
        raise FetchError(f"GET {url}: {reason(error)}") from None
    except FetchError as error:
        raise FetchError(f"GET {url}: {error}") from None


def reason(error: BaseException) -> str:
    """A connection error in words."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the server's certificate is not trusted: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"TLS failed: {error.reason or error}"
    if isinstance(error, EOFError):
        return "the connection was closed before an answer came"
    return str(error) or type(error).__name__


async def _read(reader: asyncio.StreamReader, limit: int) -> Answer:
    answer = Answer(limit)
    parser = httptools.HttpResponseParser(answer)
    while not answer.done:
        data = await reader.read(65536)
        if not data:
            break
        try:
            parser.feed_data(data)
        except httptools.HttpParserCallbackError as error:
            raise error.__context__ if isinstance(error.__context__, FetchError) else error from None
    answer.status = parser.get_status_code()
    if not answer.status:
        raise EOFError
    return answer


async def _connect(
    host: str, port: int, context: ssl.SSLContext, proxy: str
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    if not proxy:
        return await asyncio.open_connection(host, port, ssl=context, server_hostname=host)
    parts = urlsplit(proxy)
    if parts.scheme != "http":
        raise FetchError(
            f"a proxy with {parts.scheme}:// is not supported here; use http://host:port in HTTPS_PROXY"
        )
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port or 80, limit=_MAX_HEAD)
    try:
        target = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        writer.write(_connect_head(target, parts.username, parts.password))
        await _expect_tunnel(reader, target)
        await writer.start_tls(context, server_hostname=host)
    except BaseException:
        writer.close()
        raise
    return reader, writer


def _connect_head(target: str, user: str | None, password: str | None) -> bytes:
    """RFC 9110 §9.3.6."""
    lines = [f"CONNECT {target} HTTP/1.1", f"Host: {target}"]
    if user is not None:
        secret = f"{unquote(user)}:{unquote(password or '')}".encode()
        lines.append(f"Proxy-Authorization: Basic {base64.b64encode(secret).decode()}")
    return "\r\n".join((*lines, "", "")).encode()


async def _expect_tunnel(reader: asyncio.StreamReader, target: str) -> None:
    head = await reader.readuntil(b"\r\n\r\n")
    status = head.split(b"\r\n", 1)[0].decode("latin-1").partition(" ")[2]
    if not status.startswith("2"):
        raise FetchError(f"the proxy refused to connect to {target}: {status}")
