"""Classes of untrusted strings: from what an attacker can write to a word of ours.

Every function takes one raw value and returns words from a closed list, so that detection and language
models can work with what a command, image or user agent *means* without ever seeing its text (law 5).
They are pure and slow on purpose (readable regular expressions); `map_distinct` applies them once per
distinct value, which is what makes them cheap on millions of events.

>>> client_family("kubectl/v1.30.1 (linux/amd64) kubernetes/abc")
'kubectl'
>>> command_classes("sh -c cat /var/run/secrets/kubernetes.io/serviceaccount/token")
['shell', 'token_read']
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Sequence
from typing import Any

import polars as pl

# Order matters: the first that matches wins. A family is a plausible claim, never proof: agents are forged.
_CLIENTS: tuple[tuple[str, str], ...] = (
    ("offensive", r"peirates|kubeletctl|kdigger|(?<![\w-])cdk/|\bbotb\b|kubesploit|metasploit|cobalt ?strike|\bsliver\b"),
    ("scanner", r"kube-?hunter|kubescape|kube-bench|trivy|masscan|zgrab|nmap|nuclei|nikto|gobuster|ffuf|polaris|kubeaudit|shodan|censys"),
    ("kubectl", r"^kubectl[./-]|^kubectl$|^oc/"),
    ("kubelet", r"^kubelet/"),
    ("control_plane", r"^kube-(controller-manager|scheduler|apiserver|proxy)/|^cloud-controller|^hyperkube"),
    ("installer", r"^kubeadm/|^kops|^kubespray|^eksctl|^rke"),
    ("helm", r"^helm/|^tiller"),
    ("infrastructure_code", r"terraform|pulumi|ansible|crossplane"),
    ("gitops", r"^argocd|argo-?cd|^flux|kustomize-controller|helm-controller|source-controller"),
    ("ci_runner", r"gitlab-runner|jenkins|github-actions|tekton|drone|buildkite|teamcity|circleci"),
    ("backup", r"velero|kasten|stash"),
    ("monitoring", r"prometheus|kube-state-metrics|grafana|datadog|metrics-server|newrelic|kube-rbac-proxy|opentelemetry|otelcol|fluent|vector/|promtail|filebeat"),
    ("health_probe", r"healthchecker|kube-probe|blackbox|googlehc|uptime|statuscake|pingdom|statuspage"),
    ("dashboard", r"^dashboard/|lens|k9s|octant|rancher|headlamp|openshift-console|portal"),
    ("admission", r"gatekeeper|kyverno|opa/|istio|linkerd"),
    ("kubernetes_library", r"openapi-generator|kubernetes-client|fabric8|kubernetes\.client|okhttp|io\.kubernetes|client-node|kube-rs|lightkube|kr8s"),
    ("controller", r"kubernetes/\$format|controller|operator|autoscaler|cert-manager|external-secrets|keda|coredns|ingress|strimzi|reloader|leader-election|injector"),
    ("http_library", r"^go-http-client|python-requests|python-urllib|python-httpx|aiohttp|^curl|^wget|^java/|axios|node-fetch|^ruby|libwww-perl|powershell|^httpie|^insomnia|^postman"),
    ("browser", r"^mozilla/|chrome/|safari/|firefox/"),
)
CLIENT_FAMILIES = ("none", *(name for name, _ in _CLIENTS), "other")
_CLIENTS_COMPILED = tuple((name, re.compile(pattern)) for name, pattern in _CLIENTS)

ACTOR_KINDS = ("human", "service_account", "node", "controller", "anonymous", "unauthenticated")
SOURCE_CLASSES = ("loopback", "link_local", "private", "public", "none")

# Service accounts of the built-in controllers, as kube-controller-manager names them
# (Kubernetes, plugin/pkg/auth/authorizer/rbac/bootstrappolicy/controller_policy.go).
BUILTIN_CONTROLLERS = frozenset(
    f"system:serviceaccount:kube-system:{name}"
    for name in (
        "attachdetach-controller", "bootstrap-signer", "certificate-controller", "clusterrole-aggregation-controller",
        "cronjob-controller", "daemon-set-controller", "deployment-controller", "disruption-controller",
        "endpoint-controller", "endpointslice-controller", "endpointslicemirroring-controller",
        "ephemeral-volume-controller", "expand-controller", "generic-garbage-collector",
        "horizontal-pod-autoscaler", "job-controller", "namespace-controller", "node-controller",
        "persistent-volume-binder", "pod-garbage-collector", "pv-protection-controller",
        "pvc-protection-controller", "replicaset-controller", "replication-controller",
        "resource-claim-controller", "resourcequota-controller", "root-ca-cert-publisher", "route-controller",
        "selinux-warning-controller", "service-account-controller", "service-cidrs-controller",
        "service-controller", "statefulset-controller", "token-cleaner", "tokens-controller",
        "ttl-after-finished-controller", "ttl-controller", "validatingadmissionpolicy-status-controller",
    )
)

_COMMANDS: tuple[tuple[str, str], ...] = (
    ("reverse_shell", r"/dev/(tcp|udp)/|\b(nc|ncat|netcat)\b.*\s-[a-z]*[ec]\b|mkfifo|socat\b.*exec|bash\s+-i|pty\.spawn"),
    ("host_escape", r"\bchroot\b|\bnsenter\b|/proc/1/root|/host(/|\b.*(sh|bash)\b)|release_agent|\bmount\b.*/dev/"),
    ("shell", r"(^|[\s/;|&])(sh|bash|ash|zsh|dash|ksh|cmd(\.exe)?|powershell|pwsh)(\s|$)"),
    ("token_read", r"serviceaccount/(token|ca\.crt|namespace)|/secrets/kubernetes\.io|/secrets/eks\.amazonaws|/secrets/tokens"),
    ("metadata_service", r"169\.254\.169\.254|metadata\.google|169\.254\.170\.2|100\.100\.100\.200|/latest/meta-?data|fd00:ec2"),
    ("credential_file", r"/etc/(shadow|passwd|kubernetes)|\.kube/config|admin\.conf|/pki/|\.ssh/|id_(rsa|ed25519)|\.aws/|\.docker/config|\.git-credentials|\.pgpass|\.netrc|kubeconfig|\.env\b|application\.properties"),
    ("environment_dump", r"(^|[\s;|&])(env|printenv|set)(\s*$|\s*[;|&>])|/proc/(\d+|self)/environ"),
    ("download", r"\b(curl|wget|fetch|aria2c|lwp-download|certutil)\b|invoke-webrequest|urllib|http\.client|requests\.get"),
    ("archive_copy", r"\btar\b\s+-?[a-z]*[cx]|\b(zip|gzip|7z|rsync|scp)\b|\bdd\b\s+if="),
    ("package_install", r"\b(apt|apt-get|yum|dnf|apk|pip3?|npm|gem|cargo|go)\b\s+(install|add|get|update)"),
    ("miner", r"xmrig|minerd|ccminer|cpuminer|stratum\+|cryptonight|randomx|ethminer|monero|nicehash|kdevtmpfsi|kinsing|--donate-level|:3333\b|pool\.[a-z]*(mine|xmr)|coin-?hive"),
    ("kubelet_call", r":1025[05]\b|/(runningpods|run|exec|containerLogs)/.*:10250|kubeletctl"),
    ("etcd_call", r":2379\b|\betcdctl\b"),
    ("kubernetes_client", r"\b(kubectl|crictl|ctr|docker|podman|nerdctl|helm)\b|kubernetes\.default|/api/v1/|/apis/"),
    ("database_client", r"\b(psql|mysql|mysqldump|pg_dump|pg_dumpall|mongo|mongodump|redis-cli|sqlite3|cqlsh|bq)\b"),
    ("network_probe", r"\b(nmap|masscan|ping|traceroute|dig|nslookup|host|ss|netstat|ip\s+(a|addr|route)|ifconfig|arp)\b|pg_isready"),
    ("discovery", r"(^|[\s;|&])(id|whoami|hostname|uname|ps|ls|df|mount|lsblk|capsh|find|cat\s+/etc/(os-release|hosts|resolv\.conf))\b"),
    ("persistence", r"crontab|/etc/cron|authorized_keys|systemctl|rc\.local|ld\.so\.preload|\.bashrc|useradd|adduser"),
    ("privilege_change", r"\b(sudo|su|setcap|chmod\s+[ugoa+]*[0-7]*s|chown\s+root)\b"),
    ("cleanup", r"history\s+-c|unset\s+histfile|rm\s+-[rf]+\s+/var/log|shred\b|truncate\b.*log|>\s*/var/log"),
    ("encoded", r"base64\s+-?-?d|\bxxd\b|openssl\s+enc|\bpython3?\s+-c|\bperl\s+-e|\beval\b|\bphp\s+-r|\bruby\s+-e"),
    ("delete_data", r"\brm\s+-[rf]{1,2}\b|drop\s+(table|database)|\bmkfs|\bwipefs"),
    ("sleep", r"\bsleep\b|\btail\s+-f\s+/dev/null"),
)
COMMAND_CLASSES = (*(name for name, _ in _COMMANDS), "other")
_COMMANDS_COMPILED = tuple((name, re.compile(pattern, re.IGNORECASE)) for name, pattern in _COMMANDS)

GRANT_CLASSES = (
    "wildcard_verbs", "wildcard_resources", "escalate", "bind", "impersonate", "secrets_read", "secrets_write",
    "exec", "nodes_proxy", "token_create", "csr_approve", "webhooks", "pods_create", "workloads_write",
    "rbac_write", "write", "read",
)
HOST_PATH_CLASSES = ("root", "docker_socket", "kubelet", "kubernetes_config", "etc", "proc_sys", "logs", "home", "other")
CAPABILITY_CLASSES = ("all", "sys_admin", "sys_ptrace", "sys_module", "net_admin", "net_raw", "dac", "bpf", "other")
IMAGE_CLASSES = ("offensive_tool", "miner", "no_registry", "public_registry", "private_registry", "latest_tag", "digest", "fixed_tag")
PROXY_CLASSES = ("kubelet_exec", "kubelet_pods", "kubelet_logs", "kubelet_config", "metrics", "health", "debug", "other")
SUBJECT_CLASSES = (
    "system:masters", "anonymous", "everyone", "all-service-accounts", "nodes", "group", "kube-system-service-account",
    "default-service-account", "service-account", "system-user", "user",
)
IMPERSONATION_CLASSES = ("system:masters", "kube-system-service-account", "service-account", "node", "anonymous", "system-user", "user")
WEBHOOK_CLASSES = ("cluster-service", "external-url")
URI_CLASSES = ("health", "discovery", "openapi", "version", "metrics", "logs", "debug", "traversal", "exploit", "api", "other")


def client_family(user_agent: str | None) -> str:
    """Return the family that a user agent claims to be, one of `CLIENT_FAMILIES`."""
    if not user_agent:
        return "none"
    agent = user_agent.lower()
    for name, pattern in _CLIENTS_COMPILED:
        if pattern.search(agent):
            return name
    return "other"


def actor_kind(user: str | None) -> str:
    """Return what kind of identity a user name is, one of `ACTOR_KINDS`."""
    if not user:
        return "unauthenticated"
    if user == "system:anonymous":
        return "anonymous"
    if user.startswith("system:node:"):
        return "node"
    if user in BUILTIN_CONTROLLERS:
        return "controller"
    if user.startswith("system:serviceaccount:"):
        return "service_account"
    return "controller" if user.startswith("system:") else "human"


def source_class(address: str | None, cidrs: Sequence[tuple[str, str]] = ()) -> str:
    """Return the class of a source address; `cidrs` are (name, network) pairs of the profile and win.

    >>> source_class("10.1.2.3"), source_class("10.1.2.3", [("pods", "10.1.0.0/16")])
    ('private', 'pods')
    """
    try:
        ip = ipaddress.ip_address((address or "").strip())
    except ValueError:
        return "none"
    for name, network in cidrs:
        if ip in ipaddress.ip_network(network, strict=False):
            return name
    if ip.is_loopback:
        return "loopback"
    if ip.is_link_local:
        return "link_local"
    # The documentation ranges (RFC 5737, 3849) count as public: recordings and examples stand for the internet with them.
    documentation = ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "2001:db8::/32")
    if any(ip in ipaddress.ip_network(network) for network in documentation):
        return "public"
    return "private" if ip.is_private else "public"


def command_classes(command: str | None) -> list[str]:
    """Return the classes of a command line, in the order of `COMMAND_CLASSES`; 'other' when none fits."""
    if not command:
        return []
    found = [name for name, pattern in _COMMANDS_COMPILED if pattern.search(command)]
    return found or ["other"]


def grant_classes(rule: str) -> list[str]:
    """Return what an RBAC rule grants; `rule` is 'verbs groups resources', comma lists, as in events.granted.

    >>> grant_classes("get,list core secrets")
    ['secrets_read', 'read']
    >>> "exec" in grant_classes("create,no verb core pods/exec")
    True
    """
    verbs_text, _, rest = rule.partition(" ")
    _groups, _, resources_text = rest.partition(" ")
    verbs, resources = set(verbs_text.split(",")), set(resources_text.split(","))
    if rule.count(" ") != 2:
        # A verb, group or resource with a space in it: nothing hides behind it, each word may stand in any place.
        verbs = resources = set(re.split("[ ,]+", rule))
    everything = "*" in verbs
    reads = bool(verbs & {"get", "list", "watch"}) or everything
    writes = bool(verbs & {"create", "update", "patch", "delete", "deletecollection"}) or everything
    wide = "*" in resources

    def on(*names: str) -> bool:
        return wide or bool(resources & set(names))

    rbac = ("roles", "clusterroles", "rolebindings", "clusterrolebindings")
    workloads = ("deployments", "daemonsets", "statefulsets", "replicasets", "jobs", "cronjobs")
    facts = {
        "wildcard_verbs": everything,
        "wildcard_resources": wide,
        "escalate": "escalate" in verbs,
        "bind": "bind" in verbs,
        "impersonate": "impersonate" in verbs,
        "secrets_read": reads and on("secrets"),
        "secrets_write": writes and on("secrets"),
        "exec": on("pods/exec", "pods/attach", "pods/portforward", "pods/ephemeralcontainers", "pods/*"),
        "nodes_proxy": on("nodes/proxy", "nodes/*"),
        "token_create": writes and on("serviceaccounts/token", "serviceaccounts/*"),
        "csr_approve": "approve" in verbs or (writes and on("certificatesigningrequests/approval")),
        "webhooks": writes and on("mutatingwebhookconfigurations", "validatingwebhookconfigurations"),
        "pods_create": writes and on("pods"),
        "workloads_write": writes and on(*workloads),
        "rbac_write": writes and on(*rbac),
        "write": writes,
        "read": reads,
    }
    return [name for name in GRANT_CLASSES if facts[name]]


def host_path_class(path: str | None) -> str:
    """Return the class of a hostPath, one of `HOST_PATH_CLASSES`."""
    clean = re.sub(r"/+", "/", (path or "").rstrip("/")) or "/"
    for name, pattern in (
        ("root", r"^/$|^/host$"),
        ("docker_socket", r"(docker|containerd|crio|cri-dockerd|podman)\.sock$|^/(var/)?run(/(docker|containerd|crio))?$"),
        ("kubelet", r"^/var/lib/(kubelet|docker|containerd|etcd)"),
        ("kubernetes_config", r"^/etc/(kubernetes|cni)|kubeconfig"),
        ("etc", r"^/etc"),
        ("proc_sys", r"^/(proc|sys|dev|boot)\b"),
        ("logs", r"^/var/log"),
        ("home", r"^/(root|home)\b"),
    ):
        if re.search(pattern, clean):
            return name
    return "other"


def capability_class(capability: str) -> str:
    """Return the class of a Linux capability, one of `CAPABILITY_CLASSES`."""
    name = capability.upper().removeprefix("CAP_")
    known = {
        "ALL": "all", "SYS_ADMIN": "sys_admin", "SYS_PTRACE": "sys_ptrace", "SYS_MODULE": "sys_module",
        "NET_ADMIN": "net_admin", "NET_RAW": "net_raw", "DAC_READ_SEARCH": "dac", "DAC_OVERRIDE": "dac", "BPF": "bpf",
        "SYS_RAWIO": "sys_admin", "SYS_BOOT": "sys_admin",
    }
    return known.get(name, "other")


def image_classes(image: str | None) -> list[str]:
    """Return what an image reference tells: where it comes from and how it is pinned.

    >>> image_classes("docker.io/library/nginx")
    ['public_registry', 'latest_tag']
    """
    if not image:
        return []
    name = image.lower()
    found = []
    if re.search(r"kali|metasploit|peirates|parrot|botb|kube-?hunter|kdigger|/cdk\b|nmap|netshoot|pentest|exploit", name):
        found.append("offensive_tool")
    if re.search(r"xmrig|miner|monero|cryptonight|kinsing", name):
        found.append("miner")
    head = name.split("/", 1)[0]
    has_registry = "/" in name and ("." in head or ":" in head or head == "localhost")
    public = ("docker.io", "quay.io", "ghcr.io", "gcr.io", "registry.k8s.io", "k8s.gcr.io", "public.ecr.aws", "mcr.microsoft.com")
    found.append("no_registry" if not has_registry else "public_registry" if head in public else "private_registry")
    tail = name.rsplit("/", 1)[-1]
    pinned = "digest" if "@sha256:" in tail else "latest_tag" if ":" not in tail or tail.endswith(":latest") else "fixed_tag"
    return [*found, pinned]


def uri_class(uri: str | None) -> str:
    """Return the class of a request URI that names no resource, one of `URI_CLASSES`."""
    path = (uri or "").split("?", 1)[0].lower()
    for name, pattern in (
        ("traversal", r"\.\./|%2e%2e|//+etc"),
        ("exploit", r"\.(php|asp|aspx|jsp|cgi|env|git|svn|bak)\b|wp-|phpmyadmin|/etc/|jndi|actuator|hnap|cgi-bin|/admin\b"),
        ("health", r"^/(healthz|livez|readyz|ping)"),
        ("openapi", r"^/(openapi|swagger)"),
        ("version", r"^/version"),
        ("metrics", r"^/metrics"),
        ("logs", r"^/logs"),
        ("debug", r"^/debug|/pprof"),
        ("discovery", r"^/?$|^/api/?$|^/api/v1/?$|^/apis(/[^/]+){0,2}/?$|^/\.well-known"),
        ("api", r"^/apis?/"),
    ):
        if re.search(pattern, path):
            return name
    return "other"


def proxy_class(uri: str | None) -> str:
    """Return what a request asks of a node, pod or service behind the API server's proxy, one of `PROXY_CLASSES`.

    >>> proxy_class("/api/v1/nodes/n1/proxy/run/ns/pod/c?cmd=id"), proxy_class("/api/v1/nodes/n1/proxy/metrics/cadvisor")
    ('kubelet_exec', 'metrics')
    """
    path = (uri or "").split("?", 1)[0].lower().partition("/proxy")[2]
    for name, pattern in (
        ("kubelet_exec", r"^/(run|exec|attach|portforward|cri|checkpoint)\b"),
        ("kubelet_pods", r"^/(pods|runningpods)\b"),
        ("kubelet_logs", r"^/(containerlogs|logs)\b"),
        ("kubelet_config", r"^/(configz|flagz|statusz)"),
        ("metrics", r"^/(metrics|stats)\b|/metrics$"),
        ("health", r"^/(healthz|livez|readyz)|/(healthz|readyz)$"),
        ("debug", r"^/debug"),
    ):
        if re.search(pattern, path):
            return name
    return "other"


def subject_class(subject: str) -> str:
    """Return what kind of identity a binding's subject is, one of `SUBJECT_CLASSES`.

    >>> subject_class("ServiceAccount/shop/app"), subject_class("Group/system:unauthenticated")
    ('service-account', 'anonymous')
    """
    kind, _, name = subject.partition("/")
    if kind == "ServiceAccount":
        namespace, _, account = name.partition("/")
        if namespace == "kube-system":
            return "kube-system-service-account"
        return "default-service-account" if account == "default" else "service-account"
    if kind == "Group":
        if name.startswith("system:serviceaccounts"):
            return "all-service-accounts"
        known = {"system:masters": "system:masters", "system:unauthenticated": "anonymous", "system:authenticated": "everyone",
                 "system:nodes": "nodes"}
        return known.get(name, "group")
    if name == "system:anonymous":
        return "anonymous"
    return impersonation_class(name, []) if name.startswith("system:serviceaccount:") else "system-user" if name.startswith("system:") else "user"


def impersonation_class(user: str, groups: Sequence[str]) -> str:
    """Return what kind of identity somebody takes on, one of `IMPERSONATION_CLASSES`.

    >>> impersonation_class("bob", ["system:masters"]), impersonation_class("system:serviceaccount:shop:app", [])
    ('system:masters', 'service-account')
    """
    if "system:masters" in groups:
        return "system:masters"
    if user.startswith("system:serviceaccount:kube-system:"):
        return "kube-system-service-account"
    if user.startswith("system:serviceaccount:"):
        return "service-account"
    if user.startswith("system:node:"):
        return "node"
    if user == "system:anonymous":
        return "anonymous"
    return "system-user" if user.startswith("system:") else "user"


def webhook_class(url: str) -> str:
    """Return where a webhook sends requests, one of `WEBHOOK_CLASSES`; `url` as in events.webhook_urls."""
    return "cluster-service" if url.startswith("service/") else "external-url"


def map_distinct(values: pl.Series, function: Callable[[Any], Any], dtype: pl.DataType | type[pl.DataType]) -> pl.Series:
    """Apply `function` once per distinct value of `values` and spread the results back, same length and order."""
    distinct = values.unique()
    table = pl.DataFrame({
        "value": distinct,
        "result": pl.Series([function(value) for value in distinct.to_list()], dtype=dtype),
    })
    looked_up = pl.DataFrame({"value": values}).join(table, on="value", how="left", nulls_equal=True, maintain_order="left")
    return looked_up["result"].rename(values.name)
