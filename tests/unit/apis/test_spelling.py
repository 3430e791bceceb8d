"""Fields at the top or under `spec`: readers see the same."""

from __future__ import annotations

import msgspec
import pytest

from outrider.apis.management import ROLE_TEMPLATES, RoleTemplate
from outrider.apis.spelling import fixed, plain, said
from outrider.kube.meta import ObjectMeta

FIELDS = {"context": "cluster", "rules": [{"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}]}


def read(**fields: object) -> RoleTemplate:
    return ROLE_TEMPLATES.decode(msgspec.json.encode({"metadata": {"name": "ops"}, **fields}))


def test_both_spellings_read_the_same() -> None:
    flat, below = plain(read(**FIELDS)), plain(read(spec=FIELDS))
    assert (flat.context, flat.rules) == (below.context, below.rules)
    assert below.metadata.name == "ops"
    assert below.spec is None


def test_what_is_not_under_spec_is_not_there() -> None:
    assert plain(read(spec={}, rules=FIELDS["rules"])).rules is None


def test_a_spec_cannot_pass_for_metadata() -> None:
    found = plain(read(spec={"metadata": {"name": "admin"}, "kind": "Other", "context": "project"}))
    assert (found.metadata, found.kind, found.context) == (ObjectMeta(name="ops"), "", "project")


def test_a_spec_that_makes_no_sense_is_refused() -> None:
    with pytest.raises(msgspec.ValidationError):
        plain(read(spec={"rules": "all"}))


def test_cel_reads_both_spellings() -> None:
    assert (
        said("x") == "(has(self.spec) ? (has(self.spec.x) ? self.spec.x : '') : (has(self.x) ? self.x : ''))"
    )
    assert fixed("x").rule == f"{said('x')} == {said('x', self='oldSelf')}"
