"""What a creator is given, and that it is given once."""

from __future__ import annotations

from outrider.apis.management import RoleTemplate
from outrider.apis.management.group import CREATOR_ID, CREATOR_PRINCIPAL_NAME, NO_CREATOR_RBAC
from outrider.features.rbac.creators import PROGRESS, Progress, creator_binding, progress
from outrider.kube.meta import ObjectMeta

ANN = {CREATOR_ID: "user-ann"}
DEFAULTS = [
    RoleTemplate(metadata=ObjectMeta(name="owner")),
    RoleTemplate(metadata=ObjectMeta(name="more")),
    RoleTemplate(metadata=ObjectMeta(name="shut"), locked=True),
]


def test_the_defaults_that_can_be_given() -> None:
    assert progress(ANN, DEFAULTS) == Progress(required=("more", "owner"))
    assert progress({}, DEFAULTS) == Progress()
    assert progress(ANN | {NO_CREATOR_RBAC: "true"}, DEFAULTS) == Progress()


def test_what_was_decided_stays_decided() -> None:
    noted = ANN | {PROGRESS: '{"required":["cluster-owner"],"created":[]}'}
    assert progress(noted, DEFAULTS).missing == ["cluster-owner"]
    done = Progress(required=("a",), created=("a",))
    assert progress(ANN | {PROGRESS: done.to_json()}, DEFAULTS).missing == []
    assert progress(ANN | {PROGRESS: "nonsense"}, []) == Progress()


def test_the_binding() -> None:
    made = creator_binding(ANN, "owner", "c-1")
    assert made == {
        "metadata": {
            "name": "creator-owner",
            "namespace": "c-1",
            "annotations": {"authz.management.cattle.io/creator-owner-binding": "true"},
        },
        "roleTemplateName": "owner",
        "userName": "user-ann",
    }
    external = creator_binding(ANN | {CREATOR_PRINCIPAL_NAME: "github_user://1"}, "owner", "c-1")
    assert "userName" not in external
    assert external["userPrincipalName"] == "github_user://1"
