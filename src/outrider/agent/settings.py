"""Settings of the agent: the environment that the registration manifest sets, and the mounted files.

Sources: clusters-and-agents §2.3 (environment and mounts), §2.4 (CA), §3.3 (agent behaviour). Secrets are
never part of the settings: tokens are read from their files at the moment of use.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import msgspec

from outrider.agent.errors import SettingsError
from outrider.agent.proxies import NO_PROXIES, Proxies

CREDENTIALS: Final = Path("/cattle-credentials")
SERVICE_ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")
MAX_FILE: Final = 1 << 20

_CHECKSUM = re.compile(r"[0-9a-f]{64}")
_TOKEN = re.compile(r"[a-zA-Z0-9._~+/=-]{16,1024}")
_HOST = re.compile(r"[a-zA-Z0-9._:\-\[\]]{1,255}")
_PROXIES = ("https_proxy", "no_proxy")
_TRUE = frozenset({"1", "true", "yes", "on"})
_FALSE = frozenset({"", "0", "false", "no", "off"})


class AgentSettings(msgspec.Struct, kw_only=True, frozen=True):
    """Everything that the agent is told from outside.

    Attributes:
        server: origin of the management server, ``https://host[:port]``, no path.
        ca_checksum: sha256 of the server's CA (64 hex digits); empty: the system's CAs are trusted.
        strict_verify: trust the pinned CA only, not the system's CAs beside it.
        name: of this process, other than that of any other replica; a pod's is its host name.
        credential_name: name of the Secret that is mounted at `credentials`; for messages.
        credentials: folder with the files ``url``, ``token`` and ``namespace``.
        service_account: folder with ``token``, ``ca.crt`` and ``namespace``.
        kubernetes_host, kubernetes_port: address of the cluster's own API server.
        give_up_after: seconds without a tunnel after which the process exits.
        silence: seconds without a sign of life after which a tunnel is dropped.
        ping_every: seconds between the agent's own pings.
        report_after: seconds that changes of the inventory are gathered before they are sent.
        lease: seconds after which another replica applies when the one that did says nothing any more.
        resync_state_every: seconds after which all of the desired state is applied again.
        poll_every: seconds between two looks at the version and health of the API server.
        stop_within: seconds that running streams get to end after SIGTERM.
        proxies: which proxy leads where.
        image: of the agent, as its Deployment names it; empty outside of one.
        probe_port: where readiness probes are answered; 0: nowhere.
        alone_after: seconds without a first tunnel after which the desired state is enforced all the same.
    """

    server: str
    ca_checksum: str = ""
    strict_verify: bool = False
    name: str = "agent"
    credential_name: str = "cattle-credentials"
    credentials: Path = CREDENTIALS
    service_account: Path = SERVICE_ACCOUNT
    kubernetes_host: str
    kubernetes_port: int = 443
    give_up_after: float = 600.0
    silence: float = 25.0
    ping_every: float = 5.0
    report_after: float = 1.0
    lease: float = 30.0
    resync_state_every: float = 3600.0
    poll_every: float = 15.0
    stop_within: float = 5.0
    proxies: Proxies = NO_PROXIES
    image: str = ""
    probe_port: int = 0
    alone_after: float = 30.0

    @property
    def kubernetes_address(self) -> str:
        """``host:port`` of the cluster's API server, IPv6 in brackets."""
        return f"{bracketed(self.kubernetes_host)}:{self.kubernetes_port}"

    def tunnel_token(self) -> str:
        """The registration token, read now. Raises SettingsError when the file is missing or no token."""
        token = read_file(self.credentials / "token", f"the Secret {self.credential_name}")
        if not is_token(token):
            raise SettingsError(
                f"{self.credentials / 'token'} does not hold a registration token (16 or more letters and"
                " digits). Apply the registration command of the cluster again."
            )
        return token


def from_environment(environ: Mapping[str, str]) -> AgentSettings:
    """Reads the settings. Raises SettingsError that names everything that is missing or bad at once."""
    problems: list[str] = []
    read = _Reader(environ, problems)
    credentials = Path(environ.get("OUTRIDER_AGENT_CREDENTIALS") or CREDENTIALS)
    settings = AgentSettings(
        server=read.checked("the server's address", lambda: _server(environ, credentials)),
        ca_checksum=read.checked("CATTLE_CA_CHECKSUM", lambda: _checksum(environ)),
        strict_verify=read.flag("STRICT_VERIFY"),
        name=environ.get("OUTRIDER_AGENT_NAME") or environ.get("HOSTNAME") or socket.gethostname(),
        credential_name=environ.get("CATTLE_CREDENTIAL_NAME") or "cattle-credentials",
        credentials=credentials,
        service_account=Path(environ.get("OUTRIDER_AGENT_SERVICE_ACCOUNT") or SERVICE_ACCOUNT),
        kubernetes_host=read.checked("KUBERNETES_SERVICE_HOST", lambda: _kubernetes_host(environ)),
        kubernetes_port=read.port("KUBERNETES_SERVICE_PORT", 443),
        give_up_after=read.seconds("OUTRIDER_AGENT_GIVE_UP_AFTER", 600.0),
        silence=read.seconds("OUTRIDER_AGENT_SILENCE", 25.0),
        ping_every=read.seconds("OUTRIDER_AGENT_PING_EVERY", 5.0),
        report_after=read.seconds("OUTRIDER_AGENT_REPORT_AFTER", 1.0),
        lease=read.seconds("OUTRIDER_AGENT_LEASE", 30.0),
        resync_state_every=read.seconds("OUTRIDER_AGENT_RESYNC_STATE_EVERY", 3600.0),
        poll_every=read.seconds("OUTRIDER_AGENT_POLL_EVERY", 15.0),
        stop_within=read.seconds("OUTRIDER_AGENT_STOP_WITHIN", 5.0),
        proxies=read.proxies(),
        image=environ.get("OUTRIDER_AGENT_IMAGE", ""),
        probe_port=read.port("OUTRIDER_AGENT_PROBE_PORT", 0),
        alone_after=read.seconds("OUTRIDER_AGENT_ALONE_AFTER", 30.0),
    )
    if settings.ping_every >= settings.silence:
        problems.append(
            f"OUTRIDER_AGENT_PING_EVERY ({settings.ping_every:g} s) must be shorter than"
            f" OUTRIDER_AGENT_SILENCE ({settings.silence:g} s)"
        )
    if problems:
        raise SettingsError("the agent cannot start:\n" + "\n".join(f"  - {line}" for line in problems))
    return settings


def read_file(path: Path, origin: str) -> str:
    """Content of a small mounted file, stripped. Raises SettingsError that names path and `origin`."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE + 1)
    except OSError as error:
        raise SettingsError(f"cannot read {path} ({error.strerror}): it is mounted from {origin}") from None
    if len(data) > MAX_FILE:
        raise SettingsError(
            f"{path} is larger than {MAX_FILE} bytes; it should be a small file from {origin}"
        )
    try:
        return data.decode("utf-8").strip()
    except UnicodeDecodeError:
        raise SettingsError(f"{path} is not text; it should come from {origin}") from None


def is_token(text: str) -> bool:
    """Whether this can be a registration token, and nothing else when it stands in a header."""
    return _TOKEN.fullmatch(text) is not None


def origin_of(url: str) -> str:
    """``https://host[:port]`` of a server URL; its path is dropped. Raises SettingsError for a bad one."""
    try:
        parts = urlsplit(url.strip())
        port = parts.port
    except ValueError:
        raise SettingsError(f"{url!r} is not a URL such as https://rancher.example.org") from None
    host = parts.hostname or ""
    if parts.scheme != "https":
        raise SettingsError(f"{url!r} must begin with https:// (the registration token travels to it)")
    if parts.username is not None or parts.password is not None:
        raise SettingsError("the server's URL must not hold a user name or password")
    if not _HOST.fullmatch(host):
        raise SettingsError(f"{url!r} has no usable host name")
    suffix = "" if port in (None, 443) else f":{port}"
    return f"https://{bracketed(host)}{suffix}"


def bracketed(host: str) -> str:
    """A host as it stands in a URL: an IPv6 address gets its brackets."""
    return f"[{host}]" if ":" in host and not host.startswith("[") else host


class _Reader:
    """Reads single variables and gathers what is wrong with them."""

    def __init__(self, environ: Mapping[str, str], problems: list[str]) -> None:
        self._environ = environ
        self._problems = problems

    def checked(self, name: str, read: Callable[[], str]) -> str:
        try:
            return read()
        except SettingsError as error:
            self._problems.append(f"{name}: {error}")
            return ""

    def flag(self, name: str) -> bool:
        value = self._environ.get(name, "").strip().lower()
        if value in _TRUE:
            return True
        if value not in _FALSE:
            self._problems.append(f"{name}: {value!r} is neither true nor false")
        return False

    def port(self, name: str, default: int) -> int:
        value = self._environ.get(name, "").strip()
        if not value:
            return default
        if not (value.isascii() and value.isdigit()) or not 0 < int(value) < 65536:
            self._problems.append(f"{name}: {value!r} is not a port (1 to 65535)")
            return default
        return int(value)

    def seconds(self, name: str, default: float) -> float:
        value = self._environ.get(name, "").strip()
        if not value:
            return default
        try:
            seconds = float(value)
        except ValueError:
            seconds = -1.0
        if not 0 < seconds <= 86400:
            self._problems.append(f"{name}: {value!r} is not a number of seconds above 0 and up to 86400")
            return default
        return seconds

    def proxies(self) -> Proxies:
        """HTTPS_PROXY and NO_PROXY in either case; lower case wins as in curl."""
        found = {name: self._environ.get(name) or self._environ.get(name.upper()) or "" for name in _PROXIES}
        try:
            return Proxies(found["https_proxy"], found["no_proxy"])
        except ValueError as error:
            self._problems.append(f"HTTPS_PROXY: {error}")
            return NO_PROXIES


def _server(environ: Mapping[str, str], credentials: Path) -> str:
    """The origin from the mounted Secret and from CATTLE_SERVER; both must name the same server."""
    variable = environ.get("CATTLE_SERVER", "").strip()
    mounted = ""
    if (credentials / "url").exists():
        mounted = read_file(credentials / "url", "the Secret with the agent's credentials")
    if not variable and not mounted:
        raise SettingsError(
            f"neither CATTLE_SERVER nor {credentials / 'url'} is set; apply the cluster's registration command"
        )
    origins = {origin_of(url) for url in (variable, mounted) if url}
    if len(origins) > 1:
        raise SettingsError(
            f"CATTLE_SERVER says {origin_of(variable)}, but {credentials / 'url'} {origin_of(mounted)}. The"
            " registration token is only sent where both agree: apply the registration command again."
        )
    return origins.pop()


def _checksum(environ: Mapping[str, str]) -> str:
    checksum = environ.get("CATTLE_CA_CHECKSUM", "").strip().lower()
    if checksum and not _CHECKSUM.fullmatch(checksum):
        raise SettingsError("expected 64 hex digits (sha256 of the server's CA) or nothing")
    return checksum


def _kubernetes_host(environ: Mapping[str, str]) -> str:
    host = environ.get("KUBERNETES_SERVICE_HOST", "").strip().strip("[]")
    if not host:
        raise SettingsError("not set; in a pod Kubernetes sets it, elsewhere name the API server's host")
    if not _HOST.fullmatch(host):
        raise SettingsError(f"{host!r} is not a host name or address")
    return host
