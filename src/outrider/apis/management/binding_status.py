"""What is known of a binding: its effect here and in the cluster that it speaks of (spec: auth §3.7, §3.8, §7)."""

from typing import Annotated

import msgspec

from outrider.apis.schema import prop
from outrider.apis.spelling import Spelled

COMPLETED = "Completed"
IN_PROGRESS = "InProgress"
ERROR = "Error"
TERMINATING = "Terminating"


class BindingCondition(msgspec.Struct, rename="camel", omit_defaults=True, kw_only=True):
    """metav1.Condition."""

    type: Annotated[str, prop("What the condition speaks of.")]
    status: Annotated[str, prop("True, False or Unknown.")] = ""
    reason: Annotated[str, prop("Why, in one word for programs.")] = ""
    message: Annotated[str, prop("Why, in a sentence for people.")] = ""
    last_transition_time: Annotated[str, prop("When status last changed (RFC 3339).")] = ""
    observed_generation: Annotated[int, prop("The generation of the binding that it speaks of.")] = 0


class BindingStatus(msgspec.Struct, rename="camel", kw_only=True, omit_defaults=True):
    """How far a binding is in effect."""

    observed_generation_local: Annotated[int, prop("The generation in effect in the management cluster.")] = 0
    observed_generation_remote: Annotated[int, prop("The generation in effect in its clusters.")] = 0
    last_update_time: Annotated[str, prop("When the status last changed (RFC 3339).")] = ""
    summary: Annotated[str, prop("Completed, InProgress, Error or Terminating.")] = ""
    summary_local: Annotated[str, prop("The summary for the management cluster.")] = ""
    summary_remote: Annotated[str, prop("The summary for its clusters.")] = ""
    local_conditions: Annotated[
        list[BindingCondition], prop("What was done in the management cluster.", list_keys=("type",))
    ] = []
    remote_conditions: Annotated[
        list[BindingCondition], prop("What was done in its clusters.", list_keys=("type",))
    ] = []


class Binding(Spelled, kw_only=True):
    """The base of all bindings: something that gives a role to somebody."""

    status: Annotated[BindingStatus, prop("How far it is in effect.")] = msgspec.field(
        default_factory=BindingStatus
    )
