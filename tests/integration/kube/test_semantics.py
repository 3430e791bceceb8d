"""Our reading of selectors and quantities is the API server's."""

import asyncio

import pytest

from outrider.kube.builtin import CONFIGMAPS, RESOURCEQUOTAS
from outrider.kube.client import Client
from outrider.kube.errors import BadRequest
from outrider.kube.quantity import parse
from outrider.kube.selectors import SelectorError, parse_fields, parse_labels

LABELS: dict[str, dict[str, str]] = {
    "none": {},
    "x": {"a": "x"},
    "y": {"a": "y", "b": ""},
    "empty": {"a": ""},
    "five": {"a": "5", "example.com/team": "red"},
    "six": {"a": "6", "in": "in"},
}

SELECTORS = [
    "", "a", "!a", "a=x", "a==x", "a!=x", "a=", "a=,b", "a in (x,y)", "a in (,x)", "a in ()", "a notin (x, y)",
    "a>5", "a<6", "in", "in in (in)", "b,!in", "example.com/team=red", "example.com/team!=red", " a = x ",
    "a=x,", ",a", "a in x", "a in (x", "!", "a=-x", "a>x", "a b", "a=x=y", "UPPER.com/a=x", "a/b/c",
    "a in (x y)", "a>1.5", "a,,b", "a=" + "v" * 64,
]  # fmt: skip


async def test_label_selectors(admin: Client, namespace: str) -> None:
    await asyncio.gather(
        *(
            admin.create(CONFIGMAPS, {"metadata": {"name": name, "namespace": namespace, "labels": labels}})
            for name, labels in LABELS.items()
        )
    )
    for text in SELECTORS:
        try:
            selector = parse_labels(text)
        except SelectorError:
            with pytest.raises(BadRequest):
                await admin.list(CONFIGMAPS, namespace, labels=text)
            continue
        for written in (text, str(selector)):
            found = await admin.list(CONFIGMAPS, namespace, labels=written)
            names = {item["metadata"]["name"] for item in found.items}
            assert names == {name for name, labels in LABELS.items() if selector.matches(labels)}, text


async def test_field_selectors(admin: Client, namespace: str) -> None:
    for name in ("a", "b"):
        await admin.create(CONFIGMAPS, {"metadata": {"name": name, "namespace": namespace}})
    everything = (await admin.list(CONFIGMAPS, namespace)).items
    for text in (
        "metadata.name=a",
        "metadata.name!=a",
        f"metadata.namespace={namespace},metadata.name==b",
        "",
    ):
        selector = parse_fields(text)
        for written in (text, str(selector)):
            found = (await admin.list(CONFIGMAPS, namespace, fields=written)).items
            assert found == [item for item in everything if selector.matches(item)], text


# None finer than a thousandth: resource lists round to that.
QUANTITIES = [
    "0", "0Ki", "1", "+1", "1000", "1500m", "1000m", "0.5", ".5", "1.", "1.5Gi", "1024Mi", "0.5Ki", "1023", "1025Ki",
    "0.1Mi", "1e3", "1E3", "12e-1", "1E", "1024Ki", "1k", "1Ki", "999999999999", "0.3Gi",
    "1e-3", "10e2",
]  # fmt: skip
KEYS = ["cpu", "memory", "requests.cpu", "requests.memory", "limits.cpu", "limits.memory"]


async def test_quantities(admin: Client, namespace: str) -> None:
    for start in range(0, len(QUANTITIES), len(KEYS)):
        texts = QUANTITIES[start : start + len(KEYS)]
        hard = dict(zip(KEYS, texts, strict=False))
        meta = {"name": f"q{start}", "namespace": namespace}
        stored = await admin.create(RESOURCEQUOTAS, {"metadata": meta, "spec": {"hard": hard}})
        for key, text in hard.items():
            answer = stored["spec"]["hard"][key]
            assert parse(answer) == parse(text), text
            assert str(parse(text)) == str(parse(answer)), text
