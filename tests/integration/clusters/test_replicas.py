"""Several servers over one management cluster: the union of their tunnels, and the death of one."""

from __future__ import annotations

import asyncio

import pytest

from outrider.kube.client import Client
from outrider.link.messages import SessionClosed
from tests.integration.clusters.conftest import running
from tests.integration.clusters.test_import import agent


async def test_a_cluster_is_connected_through_any_replica(admin: Client, crds: None, unique: str) -> None:
    async with running(admin, replica="replica-a") as one, running(admin, replica="replica-b") as two:
        name = await one.create(unique)
        assert (await two.admit(await two.token(name))).status == 200
        first = await one.connect(name)
        second = await two.connect(name)
        for plane, session in ((one, first), (two, second)):
            await plane.report(name, session, agent().inventory())
        await one.until(name, lambda c: c.status.state == "active" and c.status.provider)
        await one.feature.service.session_closed(SessionClosed(cluster=name, session=first))
        await asyncio.sleep(0.5)
        cluster = await one.cluster(name)
        assert cluster.status.connected, "the other replica has a tunnel still"
        assert cluster.status.state == "active"
        await two.feature.service.session_closed(SessionClosed(cluster=name, session=second))
        await one.until(name, lambda c: c.status.connected is False)


@pytest.mark.timeout(60)
async def test_the_tunnels_of_a_dead_replica_expire(admin: Client, crds: None, unique: str) -> None:
    async with running(admin, replica="replica-alive", session_expiry=2.0) as alive:
        name = await alive.create(unique)
        async with running(admin, replica="replica-dying") as dying:
            await dying.connect(name)
            await alive.until(name, lambda c: c.status.connected)
        # Nobody said good-bye
        assert (await alive.cluster(name)).status.connected
        await alive.until(name, lambda c: c.status.connected is False, within=10)
