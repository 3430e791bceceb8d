"""`/metrics`: what this replica counts, for Prometheus, to those who may read it (contract §3.11)."""

from collections import defaultdict
from collections.abc import Iterable, Mapping

import prometheus_client
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector, CollectorRegistry
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from outrider.apis.management.cluster import Cluster
from outrider.apis.norman import NormanError, Unauthenticated
from outrider.features.auth.access import AccessReviews
from outrider.link.claims import claim_of
from outrider.runtime.store import Lister


class _Clusters(Collector):
    def __init__(self, clusters: Lister[Cluster]) -> None:
        self._clusters = clusters

    def collect(self) -> Iterable[Metric]:
        """One sample a cluster."""
        family = GaugeMetricFamily(
            "rancher_agent_connected",
            "Whether the cluster's agent has a tunnel to any server.",
            labels=("cluster", "cluster_name"),
        )
        for cluster in self._clusters.list():
            labels = (cluster.metadata.name, cluster.spec.display_name)
            family.add_metric(labels, 1.0 if cluster.status.connected else 0.0)
        yield family


class _Gateway(Collector):
    def __init__(self) -> None:
        self.values: Mapping[str, float] = {}

    def collect(self) -> Iterable[Metric]:
        """The samples that the gateway sent last, grouped by name."""
        grouped: defaultdict[str, list[str]] = defaultdict(list)
        for sample, value in self.values.items():
            grouped[sample.partition("{")[0]].append(f"{sample} {value:g}")
        for name, lines in grouped.items():
            kind = "counter" if name.endswith("_total") else "gauge"
            text = f"# TYPE {name.removesuffix('_total')} {kind}\n" + "\n".join(lines) + "\n"
            yield from text_string_to_metric_families(text)


class MetricsRoute:
    """Renders the metrics of this replica, gateway included."""

    def __init__(self, clusters: Lister[Cluster], access: AccessReviews) -> None:
        self._access = access
        self._gateway = _Gateway()
        self._registry = CollectorRegistry()
        self._registry.register(_Clusters(clusters))
        self._registry.register(self._gateway)
        for collector in (prometheus_client.PROCESS_COLLECTOR, prometheus_client.GC_COLLECTOR):
            self._registry.register(collector)

    def gateway_counted(self, values: Mapping[str, float]) -> None:
        """The gateway's figures since its start."""
        self._gateway.values = values

    def route(self) -> Route:
        """The route."""
        return Route("/metrics", self._answer, methods=["GET"])

    async def _answer(self, request: Request) -> Response:
        identity = claim_of(request.scope).identity
        if identity is None:
            raise Unauthenticated
        if not await self._access.allows_path(identity, "get", "/metrics"):
            raise NormanError(403, "you need the verb get on the path /metrics", code="PermissionDenied")
        return Response(
            prometheus_client.generate_latest(self._registry),
            media_type=prometheus_client.CONTENT_TYPE_LATEST,
        )
