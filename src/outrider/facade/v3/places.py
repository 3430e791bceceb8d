"""In which namespaces of the management cluster somebody may have rights: a hint where to look, never a grant."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, Protocol

from outrider.kube.builtin import ROLEBINDINGS
from outrider.kube.client import Client
from outrider.kube.identity import Identity
from outrider.runtime.informer import Informer

SUBJECT_INDEX: Final = "subject"

MOST: Final = 256
"""Namespaces that are looked into for one answer, at most."""


class Bindings(Protocol):
    """A local copy of the RoleBindings, filed by subject."""

    def index(self, name: str, value: str) -> Iterable[dict[str, Any]]:
        """The bindings that speak of a subject."""


class Places:
    """Finds the namespaces whose RoleBindings name a user or a group of theirs."""

    def __init__(self, bindings: Bindings) -> None:
        self._bindings = bindings

    def of(self, identity: Identity) -> list[str]:
        """Namespaces, in the order of their names."""
        subjects = [f"User/{identity.user}", *(f"Group/{group}" for group in identity.groups)]
        found = {
            str(binding["metadata"].get("namespace") or "")
            for subject in subjects
            for binding in self._bindings.index(SUBJECT_INDEX, subject)
        }
        return sorted(found - {""})[:MOST]


def binding_informer(client: Client) -> Informer[dict[str, Any]]:
    """The local copy that `Places` needs."""
    return Informer(client, ROLEBINDINGS, indexes={SUBJECT_INDEX: subjects_of})


def subjects_of(binding: Mapping[str, Any]) -> list[str]:
    """What a RoleBinding is filed under: `User/<name>`, `Group/<name>`."""
    return [
        f"{subject.get('kind')}/{subject.get('name')}"
        for subject in binding.get("subjects") or ()
        if subject.get("kind") in ("User", "Group")
    ]
