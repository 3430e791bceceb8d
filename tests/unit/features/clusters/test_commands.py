"""The commands that people copy: exact for plain values, harmless for hostile ones."""

from __future__ import annotations

import shlex
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outrider.apis.management.agent_deployment import EnvVar
from outrider.features.clusters.commands import Commands, commands

SUM = "ab" * 32


def test_exact_lines() -> None:
    made = commands(server_url="https://rancher.example.com", cluster="c-abcde", ca_checksum=SUM)
    assert made.command == "kubectl apply -f https://rancher.example.com/v3/import/{token}_c-abcde.yaml"
    assert made.insecure_command == (
        "curl --insecure -sfL https://rancher.example.com/v3/import/{token}_c-abcde.yaml | kubectl apply -f -"
    )
    assert made.manifest_url == "https://rancher.example.com/v3/import/{token}_c-abcde.yaml"
    assert made.node_command == (
        " curl -fL https://rancher.example.com/system-agent-install.sh | sudo  sh -s - "
        "--server https://rancher.example.com --label 'cattle.io/os=linux' --token {token} --ca-checksum "
        + SUM
    )
    assert made.insecure_node_command == made.node_command.replace("curl -fL", "curl --insecure -fL")
    assert made.windows_node_command == (
        " curl.exe -fL https://rancher.example.com/wins-agent-install.ps1 -o install.ps1; "
        "Set-ExecutionPolicy Bypass -Scope Process -Force; ./install.ps1 -Server https://rancher.example.com "
        "-Label 'cattle.io/os=windows' -Token {token} -Worker -CaChecksum " + SUM
    )


def test_environment_is_rendered_and_nodes_get_the_root() -> None:
    env = [
        EnvVar(name="HTTP_PROXY", value="http://p:3128"),
        EnvVar(name="EMPTY"),
        EnvVar(name="bad name", value="x"),
    ]
    made = commands(server_url="https://h.example/rancher/", cluster="c-1", env=env, token="t")
    assert made.node_command.startswith('HTTP_PROXY="http://p:3128" curl -fL https://h.example/system-agent')
    assert 'sudo HTTP_PROXY="http://p:3128" sh -s - --server https://h.example --label' in made.node_command
    assert made.windows_node_command.startswith('$env:HTTP_PROXY="http://p:3128"; curl.exe')
    assert made.manifest_url == "https://h.example/rancher/v3/import/t_c-1.yaml"
    assert "bad name" not in made.node_command


def test_nothing_is_promised_without_a_url() -> None:
    assert commands(server_url="", cluster="c-1") == Commands()


@given(st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=40))
def test_a_value_stays_a_value(value: str) -> None:
    made = commands(server_url="https://h", cluster="c-1", env=[EnvVar(name="X", value=value)])
    words = shlex.split(made.node_command)
    assert words[0] == f"X={value}"
    assert words[1:3] == ["curl", "-fL"]


@pytest.mark.parametrize(
    "value", ["$(touch /tmp/x)", "`id`", '"; id; "', "a\\", "!!", "'", "a'b$c", "{curl}{0}"]
)
def test_a_shell_sees_the_value(value: str) -> None:
    made = commands(server_url="https://h", cluster="c-1", env=[EnvVar(name="X", value=value)])
    assignment = made.node_command.split(" curl -fL", 1)[0]
    done = subprocess.run(
        ["sh", "-c", f'{assignment}; printf %s "$X"'], capture_output=True, text=True, check=True
    )
    assert done.stdout == value


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("a b", '"a b"'),
        ("$x", "'$x'"),
        ("it's $x", "'it''s $x'"),
        ("\u2019;calc;\u2019", "'\u2019\u2019;calc;\u2019\u2019'"),
    ],
)
def test_powershell_quoting(value: str, written: str) -> None:
    made = commands(server_url="https://h", cluster="c-1", env=[EnvVar(name="X", value=value)])
    assert made.windows_node_command.startswith(f"$env:X={written}; curl.exe")
