"""The lines a person copies to import a cluster or add a node (contract: clusters §2.1)."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable
from typing import Final
from urllib.parse import urlsplit

import msgspec

from outrider.apis.management.agent_deployment import EnvVar

PLACEHOLDER: Final = "{token}"
"""Stands for the token in stored commands: only somebody who may read its Secret is shown the value."""

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)


class Commands(msgspec.Struct, rename="camel", frozen=True, kw_only=True):
    """The seven fields of a registration's status that hold the token or its placeholder."""

    command: str = ""
    insecure_command: str = ""
    manifest_url: str = ""
    node_command: str = ""
    insecure_node_command: str = ""
    windows_node_command: str = ""
    insecure_windows_node_command: str = ""


def commands(
    *,
    server_url: str,
    cluster: str,
    ca_checksum: str = "",
    env: Iterable[EnvVar] = (),
    token: str = PLACEHOLDER,
) -> Commands:
    """The commands for a cluster; all empty while the server does not know its own URL."""
    if not server_url:
        return Commands()
    root = root_url(server_url)
    manifest = f"{server_url.rstrip('/')}/v3/import/{token}_{cluster}.yaml"
    variables = [variable for variable in env if variable.value and _NAME.fullmatch(variable.name)]
    return Commands(
        command=f"kubectl apply -f {manifest}",
        insecure_command=f"curl --insecure -sfL {manifest} | kubectl apply -f -",
        manifest_url=manifest,
        node_command=_linux("curl -fL", root, token, ca_checksum, variables),
        insecure_node_command=_linux("curl --insecure -fL", root, token, ca_checksum, variables),
        windows_node_command=_windows("curl.exe -fL", root, token, ca_checksum, variables),
        insecure_windows_node_command=_windows(
            "curl.exe --insecure -fL", root, token, ca_checksum, variables
        ),
    )


def root_url(server_url: str) -> str:
    """The URL without its path: nodes and agents reach the server at the root of its host."""
    parts = urlsplit(server_url)
    return f"{parts.scheme}://{parts.netloc}"


def _linux(curl: str, root: str, token: str, ca_checksum: str, env: list[EnvVar]) -> str:
    variables = " ".join(f"{v.name}={_posix_value(v.value)}" for v in env)
    checksum = f" --ca-checksum {ca_checksum}" if ca_checksum else ""
    return (
        f"{variables} {curl} {root}/system-agent-install.sh | sudo {variables} sh -s - --server {root} "
        f"--label 'cattle.io/os=linux' --token {token}{checksum}"
    )


def _windows(curl: str, root: str, token: str, ca_checksum: str, env: list[EnvVar]) -> str:
    variables = " ".join(f"$env:{v.name}={_powershell_value(v.value)};" for v in env)
    checksum = f" -CaChecksum {ca_checksum}" if ca_checksum else ""
    return (
        f"{variables} {curl} {root}/wins-agent-install.ps1 -o install.ps1; "
        "Set-ExecutionPolicy Bypass -Scope Process -Force; "
        f"./install.ps1 -Server {root} -Label 'cattle.io/os=windows' -Token {token} -Worker{checksum}"
    )


# A value comes from whoever may edit the cluster and is run by whoever adds a node: it must stay a value.


def _posix_value(value: str) -> str:
    return shlex.quote(value) if set(value) & set('"$`\\!\n') else f'"{value}"'


def _powershell_value(value: str) -> str:
    if value.isascii() and not set(value) & set('"$`\n'):
        return f'"{value}"'
    # PowerShell takes typographic quotes for quotes
    return "'" + re.sub("(['\u2018\u2019\u201a\u201b])", r"\1\1", value) + "'"
