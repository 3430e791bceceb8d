from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from outrider.agent.plan import LABEL, Record, Ref, is_older, make_plan, merged, ref_of
from outrider.tunnel.reports import DesiredState


def config(name: str, **labels: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": "a", "labels": labels},
    }


def namespace(name: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}


def wanted(*objects: dict[str, Any], complete: bool = False, counter: int = 2) -> DesiredState:
    return DesiredState(epoch=1, counter=counter, objects=list(objects), complete=complete)


def record(*names: str) -> Record:
    return Record(epoch=1, counter=1, refs=tuple(Ref("v1", "ConfigMap", "a", name) for name in names))


def test_namespaces_come_first_and_go_last() -> None:
    plan = make_plan(wanted(config("x"), namespace("a")), Record())
    assert [obj["kind"] for obj in plan.apply] == ["Namespace", "ConfigMap"]
    held = Record(refs=(Ref("v1", "Namespace", "", "a"), Ref("v1", "ConfigMap", "a", "x")))
    assert [ref.kind for ref in make_plan(wanted(complete=True), held).prune] == ["ConfigMap", "Namespace"]


def test_what_is_applied_is_marked_as_ours_and_keeps_its_labels() -> None:
    plan = make_plan(wanted(config("x", app="y")), Record())
    assert plan.apply[0]["metadata"]["labels"] == {"app": "y", LABEL: "true"}


def test_what_left_is_pruned() -> None:
    plan = make_plan(wanted(config("a"), config("b")), record("a", "b", "c"))
    assert [ref.name for ref in plan.prune] == ["c"]


def test_a_state_that_lost_more_than_half_prunes_only_when_it_is_complete() -> None:
    held = record("a", "b", "c")
    refused = make_plan(wanted(config("a")), held)
    assert refused.prune == ()
    assert "2 of 3" in refused.failures[0].message
    assert len(make_plan(wanted(config("a"), complete=True), held).prune) == 2
    assert make_plan(wanted(), record("a")).prune == ()


def test_an_older_version_is_older() -> None:
    applied = Record(epoch=2, counter=5)
    assert is_older(DesiredState(epoch=1, counter=99), applied)
    assert is_older(DesiredState(epoch=2, counter=4), applied)
    assert not is_older(DesiredState(epoch=2, counter=5), applied)
    assert not is_older(DesiredState(epoch=3, counter=0), applied)


def test_what_is_no_object_is_reported_and_harms_no_other() -> None:
    broken: list[Any] = [{}, {"apiVersion": "v1", "kind": "X", "metadata": {"name": 5}}, {"metadata": None}]
    plan = make_plan(wanted(config("x"), *broken), Record())
    assert [ref_of(obj).name for obj in plan.apply] == ["x"]
    assert len(plan.failures) == 3


names = st.sets(st.sampled_from("abcdefgh"))


@given(names, names, st.booleans())
def test_nothing_wanted_is_ever_pruned_and_nothing_unwanted_forgotten(
    held: set[str], now: set[str], complete: bool
) -> None:
    before = record(*held)
    plan = make_plan(wanted(*map(config, now), complete=complete), before)
    pruned = {ref.name for ref in plan.prune}
    assert not pruned & now
    assert pruned in (set(), held - now)
    assert complete <= (pruned == held - now)
    after = {ref.name for ref in merged(before, map(ref_of, plan.apply))} - pruned
    assert after == (held | now) - pruned
