"""Lets agents in: a registration token and what the agent says of its cluster, checked and recorded.

Contract: clusters §3.1 and §3.2. The server keeps no credential of any cluster, so a service-account token that
an agent sends is neither required nor looked at: our own agent sends none, and one that a genuine agent sends is
dropped with the message that carried it.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import ipaddress
import logging
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from outrider.apis.management.cluster import CLUSTERS, Cluster
from outrider.apis.management.cluster_status import ClusterStatus
from outrider.apis.management.group import LOCAL_CLUSTER
from outrider.features.clusters.errors import RegistrationRefused
from outrider.features.clusters.lifecycle import UID_ANNOTATION
from outrider.features.clusters.registry import Registry
from outrider.features.clusters.status import status_patch, write_status
from outrider.features.clusters.tombstones import Tombstones
from outrider.kit.clock import Clock
from outrider.kube import conditions as c
from outrider.kube.client import Client
from outrider.kube.errors import Conflict, KubeError, NotFound
from outrider.link.messages import Admission, Admit
from outrider.tunnel import farewell

log = logging.getLogger(__name__)

IMPORTED_DRIVERS: Final = frozenset({"", "imported", "k3s", "k3os", "rancherd", "rke2"})

_MAX_CA: Final = 256 * 1024
_ATTEMPTS: Final = 5
_HOST_PORT = re.compile(r"(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+)(:[0-9]{1,5})?", re.ASCII)
_UID = re.compile(r"[A-Za-z0-9-]{1,64}", re.ASCII)


class ClusterParams(msgspec.Struct, frozen=True, kw_only=True):
    """What an agent says of its cluster.

    Attributes:
        endpoint: URL of the API server, as the agent reaches it.
        ca_cert: base64 of its PEM certificates.
        uid: of namespace ``kube-system``, which tells one cluster from another; empty from genuine agents.
    """

    endpoint: str
    ca_cert: str
    uid: str = ""


def read_params(params: Mapping[str, Any]) -> ClusterParams:
    """The parameters of a registration. Raises `RegistrationRefused` with the contract's texts."""
    cluster = params.get("cluster")
    if not isinstance(cluster, Mapping):
        raise _refuse_without_cluster(params.get("node"))
    address = _text(cluster, "address")
    ca_cert = _text(cluster, "caCert")
    if not address:
        raise RegistrationRefused(400, "invalid input, address empty")
    if not ca_cert:
        raise RegistrationRefused(400, "invalid input, caCert empty")
    uid = _text(cluster, "uid")
    return ClusterParams(
        endpoint=endpoint_url(address), ca_cert=_certificates(ca_cert), uid=uid if _UID.fullmatch(uid) else ""
    )


def _refuse_without_cluster(node: object) -> RegistrationRefused:
    if not isinstance(node, Mapping):
        return RegistrationRefused(400, "missing node or cluster registration info")
    if not _text(node, "requestedHostname"):
        return RegistrationRefused(400, "invalid input, hostname empty")
    return RegistrationRefused(
        400, "nodes cannot register by themselves here: apply the import manifest to their cluster"
    )


def _text(values: Mapping[str, Any], key: str) -> str:
    value = values.get(key)
    return value.strip() if isinstance(value, str) else ""


def endpoint_url(address: str) -> str:
    """``https://`` and the address; a bare IPv6 address gets its brackets. Raises `RegistrationRefused`."""
    try:
        if ipaddress.ip_address(address).version == 6:
            address = f"[{address}]"
    except ValueError:
        pass
    if not _HOST_PORT.fullmatch(address) or len(address) > 300:
        raise RegistrationRefused(400, "invalid input, address is not host:port")
    return f"https://{address}"


def _certificates(ca_cert: str) -> str:
    try:
        pem = base64.b64decode(ca_cert, validate=True) if len(ca_cert) <= _MAX_CA else b""
    except (binascii.Error, ValueError):
        pem = b""
    if b"-----BEGIN CERTIFICATE-----" not in pem:
        raise RegistrationRefused(400, "invalid input, caCert is not base64 of PEM certificates")
    return ca_cert


class Admissions:
    """Answers `Admit`. Refuses whenever it cannot be sure; `synced` says whether it knows all tokens yet.

    `turns` are decided at once. Who has no turn after `patience` seconds is sent away before any work was done for
    him: of a crowd that is too large some get in quickly and the rest soon, instead of all timing out together.
    """

    def __init__(
        self,
        client: Client,
        registry: Registry,
        tombstones: Tombstones,
        clock: Clock,
        *,
        synced: Callable[[], bool],
        turns: int = 16,
        patience: float = 4.0,
    ) -> None:
        self._client = client
        self._registry = registry
        self._tombstones = tombstones
        self._clock = clock
        self._synced = synced
        self._turns = asyncio.Semaphore(turns)
        self._patience = patience

    async def admit(self, request: Admit) -> Admission:
        """200 with cluster and registration, or the status and text for the agent; never raises."""
        try:
            async with asyncio.timeout(self._patience):
                await self._turns.acquire()
        except TimeoutError:
            return Admission(id=request.id, status=503, message="many agents are registering, try again")
        try:
            return await self._admit(request)
        except RegistrationRefused as refusal:
            log.warning("registration from %s refused: %s", request.remote, refusal.message)
            return Admission(id=request.id, status=refusal.status, message=refusal.message)
        except KubeError as error:
            log.warning("registration from %s cannot be decided: %s", request.remote, error)
            return Admission(id=request.id, status=503, message="registration is not possible now, try again")
        finally:
            self._turns.release()

    async def _admit(self, request: Admit) -> Admission:
        if not request.token:
            raise RegistrationRefused(401, "failed authentication")
        params = read_params(request.params)
        if not self._synced():
            raise RegistrationRefused(503, "the server is starting, try again")
        found = await self._registry.authenticate(request.token)
        if found is None:
            return await self._dismiss(request, params)
        cluster, registration = found
        if cluster == LOCAL_CLUSTER:
            raise RegistrationRefused(400, "cluster local is this server's own and needs no agent")
        await self._record(cluster, params)
        return Admission(id=request.id, status=200, cluster=cluster, registration=registration)

    async def _dismiss(self, request: Admit, params: ClusterParams) -> Admission:
        """A deleted cluster's own agent is told to clean up; who else shows no good token is a stranger."""
        found = await self._tombstones.find(request.token, params.uid)
        if found is None:
            raise RegistrationRefused(400, "cluster not found")
        name = f"{found.cluster} ({found.display_name})"
        log.warning("the agent of the deleted cluster %s at %s is told to clean up", name, request.remote)
        order = farewell.order(request.token, f"cluster {found.cluster} was deleted on this server")
        return Admission(id=request.id, status=farewell.GONE, message=order)

    async def _record(self, name: str, params: ClusterParams) -> None:
        known = self._registry.cluster(name)
        if known is not None and self._says_so_already(known, params):
            return
        for attempt in range(_ATTEMPTS):
            try:
                cluster = await self._client.get(CLUSTERS, name)
                if _is_leaving(cluster, params):
                    return
                _check_same_cluster(cluster, params)
                cluster = await self._remember_uid(cluster, params)
                status = registered(cluster, params, self._clock)
                await write_status(self._client, cluster, status, self._clock.now())
            except NotFound:
                raise RegistrationRefused(400, "cluster not found") from None
            except Conflict:
                if attempt == _ATTEMPTS - 1:
                    raise
            else:
                return

    def _says_so_already(self, cluster: Cluster, params: ClusterParams) -> bool:
        """Whether an agent that came back brings no news: the usual case, and the one that comes in crowds."""
        return (
            not cluster.is_deleting
            and cluster.metadata.annotations.get(UID_ANNOTATION, "") == params.uid
            and not status_patch(cluster, registered(cluster, params, self._clock), self._clock.now())
        )

    async def _remember_uid(self, cluster: Cluster, params: ClusterParams) -> Cluster:
        if not params.uid or cluster.metadata.annotations.get(UID_ANNOTATION) == params.uid:
            return cluster
        metadata = {
            "resourceVersion": cluster.metadata.resource_version,
            "annotations": {UID_ANNOTATION: params.uid},
        }
        return await self._client.patch(CLUSTERS, cluster.metadata.name, {"metadata": metadata})


def _is_leaving(cluster: Cluster, params: ClusterParams) -> bool:
    """Whether the agent comes back to clean up, which it tells through its tunnel. Nobody else is let in then."""
    if not cluster.is_deleting:
        return False
    if not params.uid or params.uid != cluster.metadata.annotations.get(UID_ANNOTATION):
        raise RegistrationRefused(400, "cluster not found")
    return True


def _check_same_cluster(cluster: Cluster, params: ClusterParams) -> None:
    known = cluster.metadata.annotations.get(UID_ANNOTATION, "")
    # One manifest applied to two clusters: their agents would take turns as one
    if params.uid and known and params.uid != known and cluster.status.connected:
        raise RegistrationRefused(
            400,
            "this registration token belongs to another cluster, which is connected: "
            "create a cluster record for this one and apply its own manifest",
        )


def registered(cluster: Cluster, params: ClusterParams, clock: Clock) -> ClusterStatus:
    """The status after a registration; hosted drivers keep their own endpoint and certificates."""
    status = msgspec.structs.replace(cluster.status)
    hosted = [
        cluster.spec.eks_config,
        cluster.spec.aks_config,
        cluster.spec.gke_config,
        cluster.spec.ali_config,
    ]
    if status.driver not in IMPORTED_DRIVERS or any(config is not None for config in hosted):
        return status
    status.driver = status.driver or "imported"
    status.api_endpoint = params.endpoint
    status.ca_cert = params.ca_cert
    for kind in ("Pending", "Provisioned"):
        status.conditions = c.set_condition(status.conditions, kind, "True", now=clock.now())
    return status
