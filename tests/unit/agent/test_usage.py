from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from outrider.agent.usage import Amount, Pod, PodSums, load_of
from outrider.kube.meta import ObjectKey


def container(cpu: str = "", memory: str = "", *, sidecar: bool = False) -> dict[str, Any]:
    requests = {key: value for key, value in {"cpu": cpu, "memory": memory}.items() if value}
    made: dict[str, Any] = {"resources": {"requests": requests, "limits": requests}}
    return {**made, "restartPolicy": "Always"} if sidecar else made


def pod(node: str = "n1", *, init: list[dict[str, Any]] | None = None, **spec: Any) -> Pod:
    body = {"metadata": {"name": "p"}, "spec": {"nodeName": node, "initContainers": init or [], **spec}}
    return msgspec.convert(body, Pod)


def test_containers_add_up() -> None:
    load = load_of(pod(containers=[container("100m", "64Mi"), container("1", "1Gi")]))
    assert load.requests == Amount(1100, (64 << 20) + (1 << 30))


def test_an_init_container_counts_when_it_is_larger() -> None:
    assert load_of(pod(containers=[container("100m")], init=[container("2")])).requests.cpu == 2000
    assert load_of(pod(containers=[container("3")], init=[container("2")])).requests.cpu == 3000


def test_a_sidecar_runs_beside_everything_after_it() -> None:
    init = [container("1"), container("500m", sidecar=True), container("2")]
    # the last init container runs while the sidecar does; the first ran before it
    assert load_of(pod(containers=[container("1")], init=init)).requests.cpu == 2500
    assert load_of(pod(containers=[container("3")], init=init)).requests.cpu == 3500


def test_overhead_counts_as_request_only() -> None:
    load = load_of(pod(containers=[container("1")], overhead={"cpu": "250m"}))
    assert (load.requests.cpu, load.limits.cpu) == (1250, 1000)


def test_resources_of_the_pod_itself_win() -> None:
    load = load_of(pod(containers=[container("1", "1Gi")], resources={"requests": {"cpu": "5"}}))
    assert load.requests == Amount(5000, 1 << 30)


def test_a_quantity_that_is_none_spoils_nothing() -> None:
    assert load_of(pod(containers=[container("lots"), container("1")])).requests.cpu == 1000


def test_sums_are_quantities() -> None:
    changed: list[str] = []
    sums = PodSums(changed.append)
    sums.put(ObjectKey("a", "p1"), pod(containers=[container("250m", "512Mi")]))
    sums.put(ObjectKey("a", "p2"), pod(containers=[container("250m", "512Mi")]))
    usage = sums.usage("n1")
    assert usage.requested == {"cpu": "500m", "memory": "1Gi", "pods": "2"}
    assert usage.limits == {"cpu": "500m", "memory": "1Gi"}
    assert changed == ["n1", "n1"]
    sums.put(ObjectKey("a", "p2"), pod(containers=[container("250m", "512Mi")]))
    assert len(changed) == 2
    assert sums.usage("n9").requested == {"cpu": "0", "memory": "0", "pods": "0"}


def test_loads_that_come_and_go_are_not_kept() -> None:
    sums = PodSums(lambda _node: None)
    for number in range(5000):
        sums.put(ObjectKey("a", "p"), pod(containers=[container(f"{number}m")]))
    assert sums.usage("n1").requested["cpu"] == "4999m"
    assert sum(map(len, (getattr(sums, name) for name in ("_same", "_pods", "_nodes")))) < 1100


step = st.tuples(
    st.sampled_from(["put", "remove", "retain"]),
    st.sampled_from("abcd"),
    st.sampled_from(["n1", "n2"]),
    st.integers(0, 3),
)


@given(st.lists(step, max_size=40))
def test_sums_follow_any_history(steps: list[tuple[str, str, str, int]]) -> None:
    sums = PodSums(lambda _node: None)
    model: dict[ObjectKey, tuple[str, int]] = {}
    for action, name, node, cpu in steps:
        key = ObjectKey("ns", name)
        if action == "put":
            sums.put(key, pod(node, containers=[container(str(cpu))]))
            model[key] = (node, cpu)
        elif action == "remove":
            sums.remove(key)
            model.pop(key, None)
        else:
            sums.retain({key})
            model = {k: v for k, v in model.items() if k == key}
    for node in ("n1", "n2"):
        here = [cpu for at, cpu in model.values() if at == node]
        assert sums.usage(node).requested == {"cpu": str(sum(here)), "memory": "0", "pods": str(len(here))}
