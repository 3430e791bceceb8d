"""The API server's door on the whole product: one denial for every client, and none let through while nobody judges."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from outrider.kit import pki
from outrider.kube import kubeconfig
from tests.e2e.conftest import until
from tests.support.door import Door
from tests.support.instance import Instance
from tests.support.kubectl import Kubectl
from tests.support.people import People, Person, let_see

OURS = "management.cattle.io"
ESCALATION = "errors due to escalation"
SECRETS = [{"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]}]


@pytest.fixture
def writer(admin: Door, management: Kubectl) -> Iterator[Person]:
    """Somebody who may write role templates, and holds nothing that these could give."""
    people = People(admin)
    one = people()
    let_see(management, one.name, "local")
    verbs = "--verb=get,list,create,update,patch"
    management("create", "clusterrole", f"w-{one.name}", verbs, f"--resource=roletemplates.{OURS}")
    management(
        "create", "clusterrolebinding", f"w-{one.name}", f"--clusterrole=w-{one.name}", f"--user={one.name}"
    )
    until(lambda: one.door.get(f"/k8s/clusters/local/apis/{OURS}/v3/roletemplates").status == 200, 10)
    yield one
    management("delete", "clusterrole,clusterrolebinding", f"w-{one.name}")
    people.drop()


@pytest.fixture
def theirs(writer: Person, instance: Instance, tmp_path: Path) -> Path:
    """A kubeconfig of the writer's for the management cluster."""
    path = tmp_path / "writer.yaml"
    text = kubeconfig.render(
        name="local",
        server=f"{instance.ready['url']}/k8s/clusters/local",
        token=writer.door.token,
        ca_pem=Path(instance.ready["ca_file"]).read_bytes(),
    )
    path.write_text(text)
    return path


@pytest.fixture
def template(management: Kubectl) -> Iterator[str]:
    """A role template that allows nothing."""
    name = f"t-{uuid4().hex[:8]}"
    head = {"apiVersion": f"{OURS}/v3", "kind": "RoleTemplate", "metadata": {"name": name}}
    management("create", "-f", "-", stdin=json.dumps(head | {"context": "cluster"}))
    yield name
    management("delete", "roletemplate", name)


def test_kubectl_and_our_own_api_meet_the_same_denial(
    kubectl: Kubectl, theirs: Path, writer: Person, template: str
) -> None:
    mine = kubectl.at(str(theirs))
    wider: dict[str, Any] = {
        "apiVersion": f"{OURS}/v3",
        "kind": "RoleTemplate",
        "metadata": {"name": template},
        "context": "cluster",
        "rules": SECRETS,
    }
    held = json.loads(mine("get", "roletemplate", template, "-o", "json"))
    attempts: list[tuple[tuple[str, ...], dict[str, Any] | None]] = [
        (("create", "-f", "-"), wider | {"metadata": {"name": f"{template}-new"}}),
        (("apply", "-f", "-"), wider),
        (("apply", "--server-side", "--force-conflicts", "-f", "-"), wider),
        (("replace", "-f", "-"), held | {"rules": SECRETS}),
        (
            ("patch", "roletemplate", template, "--type=merge", "-p", json.dumps({"rules": SECRETS})),
            None,
        ),
        (
            (
                *("patch", "roletemplate", template, "--type=json", "-p"),
                json.dumps([{"op": "add", "path": "/rules", "value": SECRETS}]),
            ),
            None,
        ),
    ]
    for arguments, body in attempts:
        done = mine.attempt(*arguments, stdin=json.dumps(body) if body else "")
        assert done.returncode, arguments
        assert ESCALATION in done.stderr, (arguments, done.stderr)
    norman = writer.door.get(f"/v3/roleTemplates/{template}")
    assert norman.status == 200
    for method, path, change in (
        ("PUT", f"/v3/roleTemplates/{template}", norman.json() | {"rules": SECRETS}),
        ("POST", "/v3/roleTemplates", {"name": "x", "context": "cluster", "rules": SECRETS}),
    ):
        answer = writer.door.request(method, path, change)
        assert (answer.status, answer.json()["code"]) == (403, "PermissionDenied"), answer.body
        assert ESCALATION in answer.json()["message"]
    assert "rules" not in json.loads(mine("get", "roletemplate", template, "-o", "json"))
    renamed = writer.door.request("PUT", f"/v3/roleTemplates/{template}", norman.json() | {"name": "Fine"})
    assert renamed.status == 200, renamed.body


def chief(instance: Instance, folder: Path, kubectl: Path, home: Path) -> Kubectl:
    """kubectl straight to the management cluster, for somebody who may do anything and is not the server."""
    management = instance.data / "management"
    authority = pki.from_bundle((management / "pki" / "client-ca.pem").read_bytes())
    client = pki.issue_client(authority, "chief", ["system:masters"], now=datetime.now(UTC))
    port = json.loads((management / "ports.json").read_bytes())["apiserver"]
    text = kubeconfig.render(
        name="management",
        server=f"https://127.0.0.1:{port}",
        ca_pem=(management / "pki" / "server-ca.crt").read_bytes(),
        client_cert_pem=client.cert_pem,
        client_key_pem=client.key_pem,
    )
    path = folder / "chief.yaml"
    path.touch(mode=0o600)
    path.write_text(text)
    return Kubectl(kubectl, str(path), home)


def grant(kubectl: Kubectl) -> str:
    """A role in the management cluster for somebody; returns what went wrong."""
    body = {
        "apiVersion": f"{OURS}/v3",
        "kind": "ClusterRoleTemplateBinding",
        "metadata": {"generateName": "t-", "namespace": "local"},
        "clusterName": "local",
        "roleTemplateName": "cluster-member",
        "userName": f"u-{uuid4().hex[:6]}",
    }
    done = kubectl.attempt("create", "-f", "-", stdin=json.dumps(body))
    return done.stderr if done.returncode else ""


def test_cve_2023_22651_nothing_is_granted_while_nobody_judges(
    own: Callable[..., Instance], new_kubectl: Path, home: Path, tmp_path: Path
) -> None:
    instance = own()
    instance.start()
    boss = chief(instance, tmp_path, new_kubectl, home)
    until(lambda: grant(boss) == "", 20)

    os.kill(instance.pid("control"), signal.SIGSTOP)
    assert "failed calling webhook" in grant(boss)
    os.kill(instance.pid("control"), signal.SIGKILL)
    assert grant(boss) == "" or "webhook" in grant(boss)
    until(lambda: grant(boss) == "", 30)

    # somebody takes the registration away: refused, until the server has put it back
    boss("delete", "validatingwebhookconfiguration", "outrider")
    begun = time.monotonic()
    answers = {grant(boss)}
    until(lambda: answers.add(said := grant(boss)) or said == "", 30)
    print(f"registered again after {time.monotonic() - begun:.1f} s: {answers}")
    registered = json.loads(boss("get", "validatingwebhookconfiguration", "outrider", "-o", "json"))
    assert {hook["failurePolicy"] for hook in registered["webhooks"]} == {"Fail"}

    # kill -9 for everything: what starts again waits for no webhook of its own
    for pid in [instance.pid("control"), instance.command.process.pid]:
        os.kill(pid, signal.SIGKILL)
    instance.command.wait()
    begun = time.monotonic()
    instance.start()
    print(f"ready again after {time.monotonic() - begun:.1f} s")
    boss = chief(instance, tmp_path, new_kubectl, home)
    until(lambda: grant(boss) == "", 20)
