"""What every Kubernetes cluster has: built-in kinds, and names that may be shown in clear.

Data only. A name stands here because Kubernetes itself (or kubeadm) makes it in every cluster, so that it tells
nothing about a customer and an attacker who uses it says something true. Lookups are exact and by kind of name:
`admin` is a built-in role, but a user called `admin` is anybody.
"""

from __future__ import annotations

from audit_lab.classes import BUILTIN_CONTROLLERS

# group -> {plural: singular}. Source: the API reference of Kubernetes 1.8 to 1.33, and metrics.k8s.io.
RESOURCES: dict[str, dict[str, str]] = {
    "": {
        "bindings": "binding", "componentstatuses": "componentstatus", "configmaps": "configmap", "endpoints": "endpoint",
        "events": "event", "limitranges": "limitrange", "namespaces": "namespace", "nodes": "node",
        "persistentvolumeclaims": "persistentvolumeclaim", "persistentvolumes": "persistentvolume", "pods": "pod",
        "podtemplates": "podtemplate", "replicationcontrollers": "replicationcontroller", "resourcequotas": "resourcequota",
        "secrets": "secret", "serviceaccounts": "serviceaccount", "services": "service",
    },
    "admissionregistration.k8s.io": {
        "mutatingwebhookconfigurations": "mutatingwebhook", "validatingwebhookconfigurations": "validatingwebhook",
        "validatingadmissionpolicies": "admissionpolicy", "validatingadmissionpolicybindings": "admissionpolicybinding",
        "mutatingadmissionpolicies": "admissionpolicy", "mutatingadmissionpolicybindings": "admissionpolicybinding",
    },
    "apiextensions.k8s.io": {"customresourcedefinitions": "customresourcedefinition"},
    "apiregistration.k8s.io": {"apiservices": "apiservice"},
    "apps": {
        "controllerrevisions": "controllerrevision", "daemonsets": "daemonset", "deployments": "deployment",
        "replicasets": "replicaset", "statefulsets": "statefulset",
    },
    "authentication.k8s.io": {"tokenreviews": "tokenreview", "selfsubjectreviews": "selfsubjectreview", "tokenrequests": "tokenrequest"},
    "authorization.k8s.io": {
        "localsubjectaccessreviews": "subjectaccessreview", "selfsubjectaccessreviews": "selfsubjectaccessreview",
        "selfsubjectrulesreviews": "selfsubjectrulesreview", "subjectaccessreviews": "subjectaccessreview",
    },
    "autoscaling": {"horizontalpodautoscalers": "horizontalpodautoscaler"},
    "batch": {"cronjobs": "cronjob", "jobs": "job"},
    "certificates.k8s.io": {"certificatesigningrequests": "certificaterequest", "clustertrustbundles": "clustertrustbundle"},
    "coordination.k8s.io": {"leases": "lease", "leasecandidates": "leasecandidate"},
    "discovery.k8s.io": {"endpointslices": "endpointslice"},
    "events.k8s.io": {"events": "event"},
    "extensions": {
        "daemonsets": "daemonset", "deployments": "deployment", "ingresses": "ingress", "networkpolicies": "networkpolicy",
        "podsecuritypolicies": "podsecuritypolicy", "replicasets": "replicaset",
    },
    "flowcontrol.apiserver.k8s.io": {"flowschemas": "flowschema", "prioritylevelconfigurations": "prioritylevel"},
    "metrics.k8s.io": {"nodes": "nodemetric", "pods": "podmetric"},
    "networking.k8s.io": {
        "ingressclasses": "ingressclass", "ingresses": "ingress", "networkpolicies": "networkpolicy", "ipaddresses": "ipaddress",
        "servicecidrs": "servicecidr",
    },
    "node.k8s.io": {"runtimeclasses": "runtimeclass"},
    "policy": {"poddisruptionbudgets": "poddisruptionbudget", "podsecuritypolicies": "podsecuritypolicy"},
    "rbac.authorization.k8s.io": {
        "clusterrolebindings": "clusterrolebinding", "clusterroles": "clusterrole", "rolebindings": "rolebinding", "roles": "role",
    },
    "resource.k8s.io": {
        "deviceclasses": "deviceclass", "resourceclaims": "resourceclaim", "resourceclaimtemplates": "resourceclaim",
        "resourceslices": "resourceslice",
    },
    "scheduling.k8s.io": {"priorityclasses": "priorityclass"},
    "storage.k8s.io": {
        "csidrivers": "csidriver", "csinodes": "csinode", "csistoragecapacities": "csicapacity", "storageclasses": "storageclass",
        "volumeattachments": "volumeattachment", "volumeattributesclasses": "volumeattributesclass",
    },
}
CUSTOM = "custom-resource"

CLUSTER_SCOPED = frozenset({
    "admissionpolicy", "admissionpolicybinding", "apiservice", "certificaterequest", "clusterrole", "clusterrolebinding",
    "clustertrustbundle", "componentstatus", "csidriver", "csinode", "customresourcedefinition", "deviceclass", "flowschema",
    "ingressclass", "ipaddress", "mutatingwebhook", "namespace", "node", "nodemetric", "persistentvolume", "podsecuritypolicy",
    "priorityclass", "prioritylevel", "resourceslice", "runtimeclass", "selfsubjectaccessreview", "selfsubjectreview",
    "selfsubjectrulesreview", "servicecidr", "storageclass", "subjectaccessreview", "tokenreview", "validatingwebhook",
    "volumeattachment", "volumeattributesclass",
})
SUBRESOURCES = (
    "approval", "attach", "binding", "ephemeralcontainers", "eviction", "exec", "finalize", "log", "portforward", "proxy", "resize",
    "scale", "status", "token",
)
ACCESS_REVIEWS = ("localsubjectaccessreviews", "selfsubjectaccessreviews", "selfsubjectrulesreviews", "subjectaccessreviews",
                  "selfsubjectreviews", "tokenreviews")
RBAC_RESOURCES = ("clusterrolebindings", "clusterroles", "rolebindings", "roles")
WORKLOADS = ("cronjobs", "daemonsets", "deployments", "jobs", "replicasets", "replicationcontrollers", "statefulsets")
WRITE_VERBS = ("create", "update", "patch", "delete", "deletecollection")
SECRET_TYPES = {
    "Opaque": "opaque", "kubernetes.io/service-account-token": "service-account-token", "kubernetes.io/dockercfg": "registry-login",
    "kubernetes.io/dockerconfigjson": "registry-login", "kubernetes.io/basic-auth": "basic-auth", "kubernetes.io/ssh-auth": "ssh-key",
    "kubernetes.io/tls": "tls-key", "bootstrap.kubernetes.io/token": "bootstrap-token",
}
CSR_SIGNERS = {
    "kubernetes.io/kube-apiserver-client": "client-signer", "kubernetes.io/kube-apiserver-client-kubelet": "kubelet-client-signer",
    "kubernetes.io/kubelet-serving": "kubelet-serving-signer", "kubernetes.io/legacy-unknown": "legacy-signer",
}

_SYSTEM_ROLES = (
    "basic-user", "discovery", "public-info-viewer", "monitoring", "node", "node-proxier", "node-bootstrapper", "node-problem-detector",
    "kube-controller-manager", "kube-scheduler", "kube-dns", "kube-aggregator", "volume-scheduler", "auth-delegator", "heapster",
    "persistent-volume-provisioner", "aggregate-to-admin", "aggregate-to-edit", "aggregate-to-view", "metrics-server",
    "certificates.k8s.io:certificatesigningrequests:nodeclient", "certificates.k8s.io:kube-apiserver-client-approver",
    "kubelet-api-admin",
)
# Names shown in clear, by kind of name: exact matches only.
CLEAR_NAMES: dict[str, frozenset[str]] = {
    "ns": frozenset({"kube-system", "kube-public", "kube-node-lease", "default"}),
    "role": frozenset({"cluster-admin", "admin", "edit", "view", *(f"system:{name}" for name in _SYSTEM_ROLES)}),
    "binding": frozenset({"cluster-admin"}),
    "group": frozenset({
        "system:masters", "system:authenticated", "system:unauthenticated", "system:serviceaccounts", "system:nodes",
        "system:bootstrappers", "system:monitoring",
    }),
    "user": frozenset({
        "system:anonymous", "system:admin", "system:apiserver", "system:kube-controller-manager", "system:kube-scheduler",
        "system:kube-proxy", *BUILTIN_CONTROLLERS,
    }),
    "sa": frozenset({"default", *(name.rsplit(":", 1)[1] for name in BUILTIN_CONTROLLERS)}),
    # Objects of kube-system, kube-public and cluster scope; `clear_object` knows where each may stand.
    "object": frozenset({
        "coredns", "kube-dns", "kube-proxy", "kube-root-ca.crt", "extension-apiserver-authentication", "cluster-info", "kubeadm-config",
        "kubelet-config", "aws-auth", "kubernetes",
    }),
}


def clear_name(kind: str, value: str | None) -> str | None:
    """Return `value` when it is a built-in name of that kind, else None.

    >>> clear_name("role", "admin"), clear_name("user", "admin")
    ('admin', None)
    """
    return value if value in CLEAR_NAMES.get(kind, ()) else None


def resource_kind(group: str | None, resource: str | None) -> str:
    """Return the singular word for a resource, `custom-resource` for what Kubernetes does not bring along.

    >>> resource_kind("", "secrets"), resource_kind("example.org", "secrets")
    ('secret', 'custom-resource')
    """
    return RESOURCES.get(group or "", {}).get(resource or "", CUSTOM)
