"""What templates make of the namespaces of their projects. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from outrider.delivery.entries import Entry, Ref, instance
from outrider.delivery.index import Want, want_of
from outrider.delivery.shares import Amounts, Given, allot, is_empty, used
from outrider.delivery.spaces import Space
from outrider.tunnel.reports import ShareState

Held = Mapping[str, Mapping[str, Amounts]]

_SHOWN: Final = 5


class Made(NamedTuple):
    """What templates made: `wants` by object, and by the key of a template what each namespace was given."""

    wants: dict[Ref, Want]
    given: dict[str, dict[str, Given]]

    def held(self, templates: Mapping[str, Entry]) -> Held:
        """By project and namespace, what each has of what its project has a total of."""
        found: dict[str, dict[str, Amounts]] = {}
        for key, given in self.given.items():
            template = templates.get(key)
            if template is not None and template.share is not None and template.share.total:
                found.setdefault(template.project, {}).update(
                    {name: one.amounts for name, one in given.items()}
                )
        return found

    def entry(self, template: Entry, key: str, namespace: str) -> Entry:
        """What a template makes in a namespace."""
        return instance(template, namespace, self.given.get(key, {}).get(namespace))


NOTHING: Final = Made({}, {})


def instances(templates: Mapping[str, Entry], spaces: Mapping[str, Space], held: Held | None = None) -> Made:
    """What the templates make of the namespaces; `held` is what these were given before."""
    by_project: dict[str, dict[str, Space]] = {}
    for name, space in spaces.items():
        if space.project:
            by_project.setdefault(space.project, {})[name] = space
    found = Made({}, {})
    for key in sorted(templates):
        template = templates[key]
        here = by_project.get(template.project, {})
        if template.within:
            here = {template.within: spaces[template.within]} if template.within in spaces else {}
        if template.joining or template.leaving:
            continue
        if template.share is not None:
            found.given[key] = allot(template.share, here, (held or {}).get(template.project, {}))
        for name in here:
            if template.share is not None and is_empty(template.share, found.given[key][name]):
                continue
            made = found.entry(template, key, name)
            found.wants.setdefault(made.ref, want_of(made, template=key))
    return found


def shares_of(templates: Mapping[str, Entry], made: Made) -> list[ShareState]:
    """What was given of each project's total, once a project."""
    found: dict[str, ShareState] = {}
    for key, template in sorted(templates.items()):
        share = template.share
        if share is None or not share.total or template.project in found:
            continue
        given = made.given.get(key, {})
        refused = sorted(name for name, one in given.items() if one.refusal)
        found[template.project] = ShareState(
            project=template.project, used=used(share, given.values()), refused=refused[:_SHOWN]
        )
    return list(found.values())
