"""The settings that this server knows, as data (spec: auth §6.2, clusters §7).

A name that is not here may still be stored: clients create settings of their own. What is here gets its
default at start, and its value is checked by the API server through the rules of the Setting CRD.
"""

from dataclasses import dataclass
from enum import Enum

from outrider.apis.management.setting_names import ROWS
from outrider.apis.schema import Rule


class Check(Enum):
    """What a setting's value may look like; an empty value always means the default."""

    TEXT = ("", "")
    BOOLEAN = ("true|false", "takes true or false")
    NUMBER = ("[0-9]{1,9}", "takes a whole number that is not negative")
    POSITIVE = ("[1-9][0-9]{0,8}", "takes a whole number greater than zero")
    LENGTH = ("[2-9]|[1-9][0-9]|[12][0-9]{2}", "takes a whole number from 2 to 299")
    DURATION = ("([0-9]{1,9}(ms|s|m|h))+", "takes a duration such as 300s, 5m or 24h")
    SIZE = ("[0-9]{1,9}(Ki|Mi|Gi|k|M|G)?", "takes a size in bytes such as 512Ki or 1Mi")
    # Strict on purpose: the value ends up in shell commands that people copy.
    URL = (
        r"https?://([A-Za-z0-9._-]+|\\[[0-9A-Fa-f:.]+\\])(:[0-9]{1,5})?(/[A-Za-z0-9._~/-]*)?",
        "takes a URL such as https://outrider.example.com, without query, user or spaces",
    )
    TTL_UNIT = ("seconds|minutes", "takes seconds or minutes")
    TLS_MODE = ("strict|system-store", "takes strict or system-store")
    OBJECT = (r"\\s*\\{(.|\\s)*\\}\\s*", "takes a JSON object")

    @property
    def pattern(self) -> str:
        """Regular expression (RE2, escaped for a CEL string) of the whole value; empty: anything."""
        return self.value[0]

    @property
    def demand(self) -> str:
        """The rule in words, to follow 'this setting'."""
        return self.value[1]


@dataclass(frozen=True, kw_only=True)
class Definition:
    """A known setting. `public`: shown before sign-in. `computed`: written by the server only."""

    name: str
    default: str = ""
    description: str
    check: Check = Check.TEXT
    public: bool = False
    computed: bool = False

    @property
    def variable(self) -> str:
        """The environment variable that overrides the setting and makes it read-only."""
        return "CATTLE_" + self.name.upper().replace("-", "_")


def _minutes(name: str, default: str, description: str, check: Check = Check.NUMBER) -> Definition:
    return Definition(name=name, default=default, description=description, check=check)


def _switch(name: str, default: str, description: str) -> Definition:
    return Definition(name=name, default=default, description=description, check=Check.BOOLEAN)


DEFINITIONS: tuple[Definition, ...] = (
    # Identity of this server
    Definition(
        name="server-url",
        check=Check.URL,
        description="URL under which clients and agents reach this server. Empty: the one of the request.",
    ),
    Definition(
        name="server-version",
        default="v2.13.0",
        computed=True,
        description="Version of the API that this server is compatible with; clients compare it.",
    ),
    Definition(name="install-uuid", computed=True, description="Identifies this installation."),
    Definition(
        name="cacerts",
        public=True,
        computed=True,
        description="PEM certificates that clients check this server against. Empty: a public authority's.",
    ),
    Definition(
        name="internal-server-url", check=Check.URL, description="URL of this server inside its cluster."
    ),
    Definition(
        name="internal-cacerts", computed=True, description="PEM certificates for internal-server-url."
    ),
    Definition(
        name="k8s-version",
        computed=True,
        description="Kubernetes version of the management cluster; clients need it.",
    ),
    # Sign-in
    Definition(
        name="first-login",
        default="true",
        check=Check.BOOLEAN,
        public=True,
        description="Whether nobody has changed the bootstrap password yet.",
    ),
    _switch("no-default-admin", "", "Do not create an administrator at the first start."),
    Definition(
        name="password-min-length",
        default="12",
        check=Check.LENGTH,
        description="Characters that a password must have at least.",
    ),
    _switch(
        "basic-auth-password-enabled",
        "true",
        "Accept user name and password of local users by HTTP Basic, with the same limits as a login.",
    ),
    _minutes("auth-user-session-ttl-minutes", "960", "Minutes that a session lasts.", Check.POSITIVE),
    _minutes(
        "auth-user-session-idle-ttl-minutes",
        "960",
        "Minutes without activity after which a session ends; at most auth-user-session-ttl-minutes.",
        Check.POSITIVE,
    ),
    _minutes("auth-token-max-ttl-minutes", "129600", "Longest life of an API key in minutes; 0: no limit."),
    _minutes(
        "auth-token-default-ttl-minutes", "129600", "Life of an API key in minutes when none is asked for."
    ),
    _minutes("kubeconfig-default-token-ttl-minutes", "43200", "Life of a kubeconfig's token in minutes."),
    _minutes(
        "kubeconfig-max-token-ttl-minutes", "129600", "Longest life of a kubeconfig's token in minutes."
    ),
    _switch(
        "kubeconfig-generate-token",
        "true",
        "Put a token into generated kubeconfigs, instead of a plug-in call.",
    ),
    _minutes("authorization-cache-ttl-seconds", "10", "Seconds that a granted access is remembered at most."),
    _minutes(
        "authorization-deny-cache-ttl-seconds", "10", "Seconds that a refused access is remembered at most."
    ),
    Definition(
        name="public-api-body-limit",
        default="1Mi",
        check=Check.SIZE,
        description="Greatest body of a request without sign-in.",
    ),
    _switch("eula-agreed", "", "Unused; kept for clients that set it."),
    # Registration of clusters
    Definition(
        name="crt-ttl-unit",
        default="seconds",
        check=Check.TTL_UNIT,
        description="Unit of a registration token's spec.ttl.",
    ),
    _minutes("crt-default-ttl-minutes", "43200", "Life of a registration token in minutes when it has none."),
    _minutes(
        "crt-default-grace-period-minutes",
        "180",
        "Minutes that a registration token still works after its rotation.",
    ),
    Definition(
        name="agent-tls-mode",
        default="strict",
        check=Check.TLS_MODE,
        description="What agents check this server's certificate against: cacerts, or their system's store.",
    ),
    Definition(name="agent-image", description="Image of the cluster agent. Empty: the one of this version."),
    Definition(name="auth-image", description="Image of kube-api-auth."),
    Definition(
        name="agent-rollout-timeout",
        default="300s",
        check=Check.DURATION,
        description="How long the upgrade of one cluster's agent may take before it counts as failed.",
    ),
    Definition(
        name="agent-upgrade-largest-wave",
        default="25",
        check=Check.NUMBER,
        description="Clusters whose agents are upgraded at a time: waves of 1, 2, 4 and so on up to this;"
        " 0: no further one begins.",
    ),
    Definition(
        name="agent-upgrade-tolerated-failures",
        default="0",
        check=Check.NUMBER,
        description="Clusters whose agents may fail to upgrade before no further one begins.",
    ),
    Definition(
        name="agent-upgrade-status",
        computed=True,
        description="How far the upgrade of the agents is, and what stopped it.",
    ),
    Definition(
        name="system-default-registry", description="Registry that the agents' images are pulled from."
    ),
    Definition(name="system-default-registry-pull-secrets", description="Pull secrets for that registry."),
    Definition(
        name="cluster-agent-default-affinity",
        check=Check.OBJECT,
        description="Affinity of the cluster agent.",
    ),
    Definition(
        name="cluster-agent-default-priority-class",
        check=Check.OBJECT,
        default='{"value":999999999,"preemptionPolicy":"PreemptLowerPriority"}',
        description="PriorityClass of the cluster agent where its cluster asks for defaults.",
    ),
    Definition(
        name="cluster-agent-default-pod-disruption-budget",
        check=Check.OBJECT,
        default='{"minAvailable":"0","maxUnavailable":"0"}',
        description="PodDisruptionBudget of the cluster agent where its cluster asks for defaults.",
    ),
    Definition(
        name="fleet-agent-default-affinity", check=Check.OBJECT, description="Affinity of the GitOps agent."
    ),
    Definition(
        name="fleet-default-workspace-name",
        default="fleet-default",
        description="Workspace of clusters that name none.",
    ),
    Definition(name="ignore-node-name", description="Name of a node that is not mirrored."),
    Definition(
        name="ingress-ip-domain",
        default="sslip.io",
        description="Domain that agents make host names of addresses in.",
    ),
    # What people see
    _switch("hide-local-cluster", "false", "Hide the cluster 'local' in the user interface."),
    Definition(
        name="ui-banners", default="{}", check=Check.OBJECT, public=True, description="Banners, as JSON."
    ),
    Definition(name="ui-brand", public=True, description="Brand of the user interface."),
    Definition(
        name="ui-default-landing", default="vue", public=True, description="First page of the user interface."
    ),
    Definition(name="ui-issues", public=True, description="URL where people report issues."),
    Definition(
        name="ui-pl", default="outrider", public=True, description="Product name in the user interface."
    ),
    Definition(name="ui-community-links", default="true", description="Show links to the community."),
    Definition(name="ui-preferred", default="vue", description="User interface that is served at the root."),
    *(
        Definition(name=name, default=default, description=about, check=Check[check or "TEXT"])
        for name, default, about, check in ROWS
    ),
)

BY_NAME: dict[str, Definition] = {definition.name: definition for definition in DEFINITIONS}
PUBLIC_NAMES: frozenset[str] = frozenset(one.name for one in DEFINITIONS if one.public)


def value_rules() -> tuple[Rule, ...]:
    """The CEL rules of the Setting CRD: one for each check that any known setting asks for."""
    return tuple(_rule(check) for check in Check if check.pattern)


def _rule(check: Check) -> Rule:
    names = [one.name for one in DEFINITIONS if one.check is check]
    return Rule(
        f"!(self.metadata.name in {names}) || !has(self.value) || self.value == ''"
        f" || self.value.matches('^({check.pattern})$')",
        f"this setting {check.demand}; an empty value means the default",
        field=".value",
    )
