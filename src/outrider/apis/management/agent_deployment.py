"""How the user shapes the agent's Deployment (spec: clusters §2.6); shared by both kinds of Cluster."""

from typing import Annotated, Any, ClassVar

import msgspec

from outrider.apis.schema import Rule, Shape, prop

# A field counts as unset when it is absent, empty or zero: the reference's own default writes "0" twice.
_IS_SET = "(has(self.{0}) && string(self.{0}) != '' && string(self.{0}) != '0')"
_AMOUNT = r"!has(self.{0}) || string(self.{0}).matches('^([0-9]*|([0-9]|[1-9][0-9]|100)%)$')"


def _amount(field: str) -> Rule:
    message = f"{field} must be a number of pods that is not negative, or a percentage from 0% to 100%"
    return Rule(_AMOUNT.format(field), message, field=f".{field}")


class PodDisruptionBudget(msgspec.Struct, rename="camel", kw_only=True, omit_defaults=True):
    """How many agent pods a voluntary disruption must leave; give one of the two fields."""

    shape: ClassVar[Shape] = Shape(
        rules=(
            Rule(
                f"!({_IS_SET.format('minAvailable')} && {_IS_SET.format('maxUnavailable')})",
                "minAvailable and maxUnavailable exclude each other: remove one of them",
            ),
            _amount("minAvailable"),
            _amount("maxUnavailable"),
        ),
    )

    min_available: Annotated[
        int | str | None,
        prop("Pods that must stay available: a number, or a percentage such as 50%.", max_length=10),
    ] = None
    max_unavailable: Annotated[
        int | str | None,
        prop("Pods that may be unavailable: a number, or a percentage such as 50%.", max_length=10),
    ] = None


class PriorityClass(msgspec.Struct, rename="camel", kw_only=True, omit_defaults=True):
    """The PriorityClass that is made for the agent's pods."""

    value: Annotated[
        int, prop("Priority of the pods; greater is more important.", minimum=-(10**9), maximum=10**9)
    ] = 0
    preemption_policy: Annotated[
        str,
        prop(
            "Whether the pods may push others out. Default: PreemptLowerPriority.",
            enum=("", "PreemptLowerPriority", "Never"),
        ),
    ] = ""


class SchedulingCustomization(msgspec.Struct, rename="camel", kw_only=True, omit_defaults=True):
    """Priority and disruption budget of the agent; needs feature cluster-agent-scheduling-customization."""

    priority_class: Annotated[PriorityClass | None, prop("PriorityClass of the agent's pods.")] = None
    pod_disruption_budget: Annotated[
        PodDisruptionBudget | None, prop("PodDisruptionBudget of the agent.")
    ] = None


class AgentDeploymentCustomization(msgspec.Struct, rename="camel", kw_only=True, omit_defaults=True):
    """Changes to the Deployment of an agent."""

    append_tolerations: Annotated[
        list[dict[str, Any]] | None, prop("Tolerations (core/v1) added to the computed ones.")
    ] = None
    override_affinity: Annotated[
        dict[str, Any] | None, prop("Affinity (core/v1) that replaces the default one as a whole.")
    ] = None
    override_resource_requirements: Annotated[
        dict[str, Any] | None, prop("Requests and limits (core/v1 ResourceRequirements) of the container.")
    ] = None
    scheduling_customization: Annotated[
        SchedulingCustomization | None, prop("Priority and disruption budget of the agent.")
    ] = None


class WebhookDeploymentCustomization(msgspec.Struct, rename="camel", kw_only=True, omit_defaults=True):
    """Changes to the Deployment of the admission webhook in the cluster."""

    replica_count: Annotated[int | None, prop("Replicas of the webhook.", minimum=1)] = None
    append_tolerations: Annotated[
        list[dict[str, Any]] | None, prop("Tolerations (core/v1) added to the computed ones.")
    ] = None
    override_affinity: Annotated[
        dict[str, Any] | None, prop("Affinity (core/v1) that replaces the default one as a whole.")
    ] = None
    override_resource_requirements: Annotated[
        dict[str, Any] | None, prop("Requests and limits (core/v1 ResourceRequirements) of the container.")
    ] = None
    pod_disruption_budget: Annotated[
        PodDisruptionBudget | None, prop("PodDisruptionBudget of the webhook.")
    ] = None


class EnvVar(msgspec.Struct, rename="camel", kw_only=True, omit_defaults=True):
    """An environment variable of the agent (core/v1 EnvVar)."""

    shape: ClassVar[Shape] = Shape(
        rules=(
            Rule(
                "self.name != 'NO_PROXY' || !has(self.value) || !self.value.contains(' ')",
                "NO_PROXY must not contain spaces: separate its entries by commas only",
                field=".value",
            ),
        ),
    )

    name: Annotated[str, prop("Name of the variable.", required=True, min_length=1, max_length=256)] = ""
    value: Annotated[str, prop("Value of the variable.", max_length=32768)] = ""
    value_from: Annotated[dict[str, Any] | None, prop("Source of the value (core/v1 EnvVarSource).")] = None


class LocalClusterAuthEndpoint(msgspec.Struct, rename="camel", kw_only=True, omit_defaults=True):
    """The authorized cluster endpoint: users reach the cluster without passing the management plane."""

    shape: ClassVar[Shape] = Shape(
        rules=(
            Rule(
                "!has(self.caCerts) || self.caCerts == '' || (has(self.fqdn) && self.fqdn != '')",
                "caCerts needs fqdn: the certificates are those of the endpoint at that name",
                field=".caCerts",
            ),
        ),
    )

    enabled: Annotated[bool, prop("Whether the endpoint is deployed.")] = False
    fqdn: Annotated[str, prop("Name under which a load balancer serves the control plane nodes.")] = ""
    ca_certs: Annotated[str, prop("PEM certificates that the name's own certificate is checked against.")] = (
        ""
    )
