"""Where a cluster's API is and how to prove who we are: kubeconfig files and in-cluster accounts."""

import base64
import binascii
import ipaddress
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from outrider.kit import yaml

SERVICE_ACCOUNT_DIRECTORY = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_MAX_FILE = 4 << 20


class KubeconfigError(Exception):
    """A kubeconfig that cannot be used; the message says which entry and what to change."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterAccess:
    """Address and credentials of one API server.

    ``server`` is ``https://host[:port][/prefix]``, ``http://`` on loopback, or ``unix:/path/of.sock``. PEM
    values are bytes; empty means absent (without ``ca_pem`` the system's authorities are trusted). A
    ``token_file`` is read again whenever it changes and wins over ``token``. Secrets are left out of
    ``repr``.
    """

    server: str
    ca_pem: bytes = field(default=b"", repr=False)
    client_cert_pem: bytes = field(default=b"", repr=False)
    client_key_pem: bytes = field(default=b"", repr=False)
    token: str = field(default="", repr=False)
    token_file: Path | None = None
    tls_server_name: str = ""


def load(path: str | os.PathLike[str], context: str | None = None) -> ClusterAccess:
    """Read a kubeconfig file and return the access of ``context``, or of its current context.

    Relative paths inside the file are relative to its folder, as in client-go. Raises KubeconfigError.
    """
    file = Path(path)
    try:
        config = parse(_read(file))
    except KubeconfigError as error:
        raise KubeconfigError(f"{file}: {error}") from None
    try:
        return _resolve(config, context, file.parent)
    except KubeconfigError as error:
        raise KubeconfigError(f"{file}: {error}") from None


def parse(text: str | bytes) -> dict[str, Any]:
    """Read a kubeconfig document; raises KubeconfigError."""
    try:
        config = yaml.load(text)
    except yaml.YAMLError:
        # The parser's message quotes the file, which holds credentials.
        raise KubeconfigError(
            "it is not YAML; write it again, for example with `kubectl config view`"
        ) from None
    if not isinstance(config, dict):
        raise KubeconfigError("it is not a kubeconfig: the document is not a mapping")
    return config


def in_cluster(directory: str | os.PathLike[str] = SERVICE_ACCOUNT_DIRECTORY) -> ClusterAccess:
    """Return the access that a pod has through its service account.

    Needs KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT and the mounted ``token`` and ``ca.crt``; raises
    KubeconfigError when they are absent.
    """
    host, port = os.environ.get("KUBERNETES_SERVICE_HOST"), os.environ.get("KUBERNETES_SERVICE_PORT")
    if not host or not port:
        raise KubeconfigError(
            "not in a pod: KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are not set; give a kubeconfig"
        )
    folder = Path(directory)
    token = folder / "token"
    if not token.is_file():
        raise KubeconfigError(f"{token} is missing: does the pod set automountServiceAccountToken: false?")
    address = f"[{host}]" if ":" in host else host
    return ClusterAccess(
        server=f"https://{address}:{port}", ca_pem=_read(folder / "ca.crt"), token_file=token
    )


def render(
    *,
    name: str,
    server: str,
    user: str = "",
    token: str = "",
    ca_pem: bytes = b"",
    client_cert_pem: bytes = b"",
    client_key_pem: bytes = b"",
    token_file: str = "",
    namespace: str = "",
) -> str:
    """Return a kubeconfig with one cluster, user and context; the user is called ``user`` or ``name``."""
    cluster: dict[str, str] = {"server": server}
    if ca_pem:
        cluster["certificate-authority-data"] = base64.b64encode(ca_pem).decode()
    credential: dict[str, str] = {}
    if token:
        credential["token"] = token
    if token_file:
        credential["tokenFile"] = token_file
    if client_cert_pem:
        credential["client-certificate-data"] = base64.b64encode(client_cert_pem).decode()
        credential["client-key-data"] = base64.b64encode(client_key_pem).decode()
    user = user or name
    context = {"cluster": name, "user": user}
    if namespace:
        context["namespace"] = namespace
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": name, "cluster": cluster}],
        "users": [{"name": user, "user": credential}],
        "contexts": [{"name": name, "context": context}],
        "current-context": name,
    }
    return yaml.dump(document)


def _resolve(config: dict[str, Any], context: str | None, folder: Path) -> ClusterAccess:
    name = context or config.get("current-context")
    if not name:
        raise KubeconfigError("it has no current-context; name a context, or set one")
    chosen = _entry(config, "contexts", "context", str(name))
    cluster = _entry(config, "clusters", "cluster", str(chosen.get("cluster", "")))
    user = _entry(config, "users", "user", str(chosen["user"])) if chosen.get("user") else {}
    _refuse_unsupported(cluster, user)
    token_file = user.get("tokenFile")
    return ClusterAccess(
        server=_server(cluster.get("server")),
        ca_pem=_pem(cluster, "certificate-authority", folder),
        client_cert_pem=_pem(user, "client-certificate", folder),
        client_key_pem=_pem(user, "client-key", folder),
        token=str(user.get("token") or ""),
        token_file=folder / str(token_file) if token_file else None,
        tls_server_name=str(cluster.get("tls-server-name") or ""),
    )


def _refuse_unsupported(cluster: dict[str, Any], user: dict[str, Any]) -> None:
    if cluster.get("insecure-skip-tls-verify"):
        raise KubeconfigError(
            "insecure-skip-tls-verify is not supported; put the authority into certificate-authority-data"
        )
    for key in ("exec", "auth-provider", "username"):
        if user.get(key):
            raise KubeconfigError(
                f"users of type {key!r} are not supported; use a client certificate, token or tokenFile"
            )


def _entry(config: dict[str, Any], section: str, field: str, name: str) -> dict[str, Any]:
    entries = config.get(section)
    for entry in entries if isinstance(entries, list) else []:
        if isinstance(entry, dict) and entry.get("name") == name:
            value = entry.get(field)
            if isinstance(value, dict):
                return value
    raise KubeconfigError(f"it has no entry {name!r} under {section}")


def _server(value: object) -> str:
    text = str(value or "")
    parts = urlsplit(text)
    if parts.scheme == "unix" and parts.path:
        return text
    if parts.scheme == "https" and parts.hostname:
        return text
    if parts.scheme == "http" and _is_loopback(parts.hostname or ""):
        return text
    raise KubeconfigError(f"server {text!r} is not an https:// URL (http:// is for loopback only)")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _pem(entry: dict[str, Any], key: str, folder: Path) -> bytes:
    inline = entry.get(f"{key}-data")
    if inline:
        try:
            return base64.b64decode(str(inline), validate=True)
        except binascii.Error:
            raise KubeconfigError(f"{key}-data is not base64") from None
    file = entry.get(key)
    return _read(folder / str(file)) if file else b""


def _read(file: Path) -> bytes:
    try:
        with file.open("rb") as stream:
            data = stream.read(_MAX_FILE + 1)
    except OSError as error:
        raise KubeconfigError(f"cannot read {file}: {error.strerror}") from None
    if len(data) > _MAX_FILE:
        raise KubeconfigError(f"{file} is larger than {_MAX_FILE >> 20} MiB")
    return data
