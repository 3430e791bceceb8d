"""What the gateway counts. Plain numbers; the control process renders them for `/metrics`."""

from collections import defaultdict

from outrider.gateway.exchange import Exchange


class Metrics:
    """Counters since the start of the process, by sample name with labels."""

    def __init__(self) -> None:
        self._answers: defaultdict[tuple[str, int], int] = defaultdict(int)
        self._errors: defaultdict[int, int] = defaultdict(int)
        self._received = 0
        self._sent = 0

    def count(self, exchange: Exchange) -> None:
        """Counts a finished exchange."""
        status = exchange.status
        self._answers[exchange.route, status // 100] += 1
        self._received += exchange.bytes_in
        self._sent += exchange.bytes_out
        if status >= 400:
            self._errors[status] += 1

    def values(self, *, connections: int, tunnels: int) -> dict[str, float]:
        """All samples, in Prometheus' text names."""
        samples: dict[str, float] = {
            "outrider_gateway_connections": connections,
            "outrider_gateway_tunnels": tunnels,
            "outrider_gateway_received_body_bytes_total": self._received,
            "outrider_gateway_sent_body_bytes_total": self._sent,
        }
        for (route, family), number in self._answers.items():
            samples[f'outrider_gateway_answers_total{{route="{route}",code="{family}xx"}}'] = number
        for status, number in self._errors.items():
            samples[f'rancher_api_errors_total{{code="{status}"}}'] = number
        return samples
