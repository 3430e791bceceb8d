"""An HTTPS client that hides nothing: every header line as it came, every body as bytes."""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import socket
import ssl
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from outrider.kube import kubeconfig
from outrider.kube.tls import client_context

SECONDS = 30.0


class Answer(NamedTuple):
    """A whole response."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes

    def header(self, name: str) -> str:
        """The first value of a header, empty when there is none."""
        return next((value for key, value in self.headers if key.lower() == name.lower()), "")

    def cookies(self) -> dict[str, str]:
        """The cookies that are set, each with its attributes."""
        lines = [value for key, value in self.headers if key.lower() == "set-cookie"]
        return {line.partition("=")[0]: line.partition("=")[2] for line in lines}

    def json(self) -> Any:
        """The body, decoded."""
        return json.loads(self.body)


class Door:
    """One server. `token` is sent as Bearer with each request; `source` is the address to come from."""

    def __init__(
        self, url: str, context: ssl.SSLContext, *, token: str = "", source: str = "127.0.0.1"
    ) -> None:
        self.url = url
        self.token = token
        self._context = context
        self._source = source
        parts = urlsplit(url)
        self.host = parts.hostname or ""
        self.port = parts.port or 443
        self.prefix = parts.path.rstrip("/")

    @classmethod
    def of_kubeconfig(cls, path: str | Path) -> Door:
        """The server of a kubeconfig, with its credential."""
        access = kubeconfig.load(path)
        return cls(access.server, client_context(access), token=access.token)

    def with_token(self, token: str) -> Door:
        """The same server with another credential; none when it is empty."""
        return Door(self.url, self._context, token=token, source=self._source)

    def come_from(self, source: str) -> Door:
        """The same server for a client at another loopback address."""
        return Door(self.url, self._context, token=self.token, source=source)

    def root(self) -> Door:
        """The same server without the path of its URL."""
        return Door(f"https://{self.host}:{self.port}", self._context, token=self.token, source=self._source)

    def connect(self) -> http.client.HTTPSConnection:
        """A new connection."""
        return http.client.HTTPSConnection(
            self.host, self.port, context=self._context, timeout=SECONDS, source_address=(self._source, 0)
        )

    def socket(self) -> ssl.SSLSocket:
        """A new TLS connection without any HTTP on it."""
        plain = socket.create_connection((self.host, self.port), SECONDS, (self._source, 0))
        return self._context.wrap_socket(plain, server_hostname=self.host)

    def headers(self, more: Mapping[str, str] | None = None) -> dict[str, str]:
        """The headers of a request of this client's."""
        own = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        return own | dict(more or {})

    def request(
        self,
        method: str,
        path: str,
        body: bytes | Iterable[bytes] | dict[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """One request on a connection of its own. A dict is sent as JSON, an iterable in chunks."""
        sent = self.headers(headers)
        if isinstance(body, dict):
            body = json.dumps(body).encode()
            sent.setdefault("Content-Type", "application/json")
        chunked = body is not None and not isinstance(body, bytes)
        with contextlib.closing(self.connect()) as connection:
            connection.request(method, self.prefix + path, body, sent, encode_chunked=chunked)
            response = connection.getresponse()
            return Answer(response.status, response.getheaders(), response.read())

    def get(self, path: str, **headers: str) -> Answer:
        """GET; header names with underscores for dashes."""
        return self.request("GET", path, headers={name.replace("_", "-"): v for name, v in headers.items()})

    def post(self, path: str, body: dict[str, Any] | None = None, **headers: str) -> Answer:
        """POST of JSON."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.request("POST", path, body if body is not None else {}, named)

    @contextlib.contextmanager
    def stream(
        self, path: str, headers: Mapping[str, str] | None = None
    ) -> Iterator[http.client.HTTPResponse]:
        """GET whose body is read by the caller, piece by piece."""
        with contextlib.closing(self.connect()) as connection:
            connection.request("GET", self.prefix + path, headers=self.headers(headers))
            yield connection.getresponse()


def basic(user: str, password: str) -> dict[str, str]:
    """The header of HTTP Basic."""
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


def trusting(ca_file: str | Path) -> ssl.SSLContext:
    """A TLS context that trusts one CA and offers HTTP/1.1."""
    context = ssl.create_default_context(cafile=str(ca_file))
    context.set_alpn_protocols(["http/1.1"])
    return context
