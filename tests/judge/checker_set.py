"""What models say about three cases, some of it true: the set that the checker is measured on.

Written from the cases alone, in the words that models use, before the checker was run on it. Kinds: `true` (holds),
`fabricated` (events or claims that are not so), `irrelevant` (true, and true of most peers), `omitting` (a high score
that leaves out what speaks for innocence), `contradicting` (a summary against its own grounds or the tables), `honest`
(a summary in which everything is so).
"""

from __future__ import annotations

from typing import Any, NamedTuple

from tests.judge.story import Story, event, events_of_story, story


class Item(NamedTuple):
    kind: str
    user: str
    summary: str = ""
    claim: dict[str, Any] | None = None
    events: dict[str, Any] | None = None
    score: float = 0.9


def cases() -> Story:
    """mallory: takeover (8 requests); olga: her usual shift (6 requests); the anonymous prober (7 requests, 6 denied)."""
    rows = events_of_story()
    for shift, at in enumerate((400, 2000, 3600, 8200)):
        for step, (verb, resource, more) in enumerate((
            ("get", "pods", {"subresource": "log", "name": "web"}), ("list", "pods", {}),
            ("create", "pods", {"subresource": "exec", "name": "web", "commands": ["sh"], "command_classes": ["shell"], "status": 101}),
            ("delete", "pods", {"name": f"web-{shift}"}), ("patch", "deployments", {"api_group": "apps", "name": "web"}),
            ("get", "configmaps", {"name": "settings"}),
        )):
            rows.append(event(at + step * 5, "olga", verb, resource, namespace="team-0", **more))
    for step, (verb, resource) in enumerate((("list", "secrets"), ("list", "pods"), ("list", "nodes"), ("get", "configmaps"),
                                             ("create", "pods"), ("list", "serviceaccounts"))):
        rows.append(event(8600 + step, "system:anonymous", verb, resource, actor_kind="anonymous", status=403, decision="forbid",
                          source_ip="203.0.113.5", source_class="public", client_family="http_library"))
    rows.append(event(8610, "system:anonymous", "get", None, actor_kind="anonymous", source_ip="203.0.113.5", source_class="public",
                      client_family="http_library", uri="/version"))
    return story(rows, ("mallory", "olga", "system:anonymous"))


def c(kind: str, predicate: str, n: int | None = None, scope: str | None = None, then: str | None = None) -> dict[str, Any]:
    return {"kind": kind, "predicate": predicate, "then": then, "n": n, "scope": scope}


SECRETS, READS = {"resource": "secrets"}, {"resource": "secrets", "verb": "get"}
BINDING, EXEC, DENIED = {"resource": "clusterrolebindings"}, {"subresource": "exec"}, {"status": 403}

GROUNDS: tuple[Item, ...] = (
    Item("true", "mallory", claim=c("privilege", "binding_cluster_admin"), events=BINDING),
    Item("true", "mallory", claim=c("count", "secret_get", 5), events=READS),
    Item("true", "mallory", claim=c("count", "secret_list_everywhere", 1), events={"resource": "secrets", "verb": "list"}),
    Item("true", "mallory", claim=c("denial", "secret_in_system", 3), events={**READS, **DENIED}),
    Item("true", "mallory", claim=c("novelty", "pod_exec", scope="actor"), events=EXEC),
    Item("true", "mallory", claim=c("novelty", "binding_cluster_admin", scope="peers"), events=BINDING),
    Item("true", "mallory", claim=c("reach", "secret_get", 5, "secrets"), events=READS),
    Item("true", "mallory", claim=c("count", "command_token_read", 1), events=EXEC),
    Item("true", "mallory", claim=c("reach", "secret_get", 2, "namespaces"), events=READS),
    Item("true", "system:anonymous", claim=c("denial", "denied", 6), events=DENIED),
    Item("true", "system:anonymous", claim=c("denial", "request", 5), events=DENIED),
    Item("true", "system:anonymous", claim=c("count", "secret_list_everywhere", 1), events={"resource": "secrets"}),
    Item("true", "olga", claim=c("count", "workload_delete", 1), events={"verb": "delete"}),
    Item("true", "olga", claim=c("count", "pod_exec", 1), events=EXEC),
    Item("fabricated", "mallory", claim=c("count", "secret_get", 12), events=READS),
    Item("fabricated", "mallory", claim=c("privilege", "pod_privileged"), events=BINDING),
    Item("fabricated", "mallory", claim=c("count", "webhook_write", 1), events=BINDING),
    Item("fabricated", "mallory", claim=c("denial", "secret_get", 5), events=READS),
    Item("fabricated", "mallory", claim=c("denial", "binding_cluster_admin", 1), events=BINDING),
    Item("fabricated", "mallory", claim=c("order", "pod_exec", then="secret_list_everywhere"), events={}),
    Item("fabricated", "mallory", claim=c("order", "binding_cluster_admin", then="secret_get"), events={}),
    Item("fabricated", "mallory", claim=c("reach", "secret_get", 4, "namespaces"), events=READS),
    Item("fabricated", "mallory", claim=c("reach", "request", 3, "nodes"), events={}),
    Item("fabricated", "mallory", claim=c("count", "impersonate", 1), events=BINDING),
    Item("fabricated", "mallory", claim=c("count", "pod_exec", 1), events={"missing": "e99"}),
    Item("fabricated", "mallory", claim=c("count", "pod_exec", 1), events={"other": "olga"}),
    Item("fabricated", "mallory", claim=c("novelty", "request", scope="actor"), events={}),
    Item("fabricated", "mallory", claim=c("count", "lateral_movement", 1), events=EXEC),
    Item("fabricated", "mallory", claim=c("privilege", "secret_get"), events=READS),
    Item("fabricated", "system:anonymous", claim=c("count", "anonymous_allowed", 1), events={"resource": "pods"}),
    Item("fabricated", "system:anonymous", claim=c("privilege", "binding_cluster_admin"), events={}),
    Item("fabricated", "system:anonymous", claim=c("denial", "request", 7), events={}),
    Item("fabricated", "system:anonymous", claim=c("novelty", "secret_list", scope="actor"), events={"resource": "secrets"}),
    Item("fabricated", "olga", claim=c("novelty", "pod_exec", scope="actor"), events=EXEC),
    Item("fabricated", "olga", claim=c("count", "workload_delete", 4), events={"verb": "delete"}),
    Item("fabricated", "olga", claim=c("denial", "pod_exec", 1), events=EXEC),
    Item("fabricated", "olga", claim=c("count", "secret_get", 1), events=EXEC),
    Item("irrelevant", "mallory", claim=c("count", "request", 1), events={}),
    Item("irrelevant", "mallory", claim=c("reach", "request", 1, "namespaces"), events=READS),
    Item("irrelevant", "olga", claim=c("count", "request", 5), events={}),
    Item("irrelevant", "olga", claim=c("count", "config_read", 1), events={"resource": "configmaps"}),
    Item("irrelevant", "olga", claim=c("reach", "request", 2, "resources"), events={}),
)

SUMMARIES: tuple[Item, ...] = (
    Item("honest", "mallory", "The actor listed all secrets in the cluster, then bound itself to cluster-admin and ran a command in a pod."),
    Item("honest", "mallory", "A user read five secrets by name, three of which were denied, and created a cluster role binding to cluster-admin."),
    Item("honest", "mallory", "Suspicious privilege escalation: after three denied requests the actor obtained cluster-admin."),
    Item("honest", "mallory", "8 requests within 12 seconds from a public address, including secret reads and an exec that read the pod's token."),
    Item("honest", "mallory", "Likely account compromise: secrets were enumerated and cluster-admin was granted."),
    Item("honest", "mallory", "The session shows attacker behaviour. It is not routine for this actor."),
    Item("honest", "mallory", "There were no deletions, but the actor escalated its privileges through a role binding."),
    Item("honest", "mallory", "The actor made 2 writes, one of them a cluster-admin binding."),
    Item("honest", "olga", "Routine maintenance: logs, a shell in a pod, one deleted pod and a patched deployment.", score=0.1),
    Item("honest", "olga", "The actor does what it did in earlier sessions; nothing was denied.", score=0.1),
    Item("honest", "olga", "Ordinary work in one namespace, no secrets were touched.", score=0.05),
    Item("honest", "olga", "A pod was deleted and a command was executed, as usual for this actor.", score=0.2),
    Item("honest", "olga", "6 requests, none of them denied. This looks benign.", score=0.1),
    Item("honest", "system:anonymous", "An unauthenticated client probed the API; six of seven requests were denied.", score=0.6),
    Item("honest", "system:anonymous", "Anonymous reconnaissance: listing secrets, pods and nodes was refused.", score=0.6),
    Item("honest", "system:anonymous", "The only allowed request was a harmless call; everything else was denied.", score=0.5),
    Item("honest", "system:anonymous", "No secrets were obtained, as all 6 attempts were denied.", score=0.4),
    Item("contradicting", "mallory", "The actor read 12 secrets by name."),
    Item("contradicting", "mallory", "The actor deleted several workloads and started a privileged pod."),
    Item("contradicting", "mallory", "Read-only activity: the actor looked at secrets but changed nothing.", score=0.6),
    Item("contradicting", "mallory", "No requests were denied in this session.", score=0.8),
    Item("contradicting", "mallory", "The session made 45 requests to 9 namespaces."),
    Item("contradicting", "mallory", "The actor impersonated a system identity to read secrets."),
    Item("contradicting", "mallory", "The actor tampered with an admission webhook."),
    Item("contradicting", "mallory", "This is ordinary, benign work by a developer."),
    Item("contradicting", "mallory", "A cryptominer was deployed after secrets were listed."),
    Item("contradicting", "mallory", "The actor never touched any secrets.", score=0.5),
    Item("contradicting", "olga", "A clear attack: the actor compromised the namespace.", score=0.1),
    Item("contradicting", "olga", "The actor read secrets and bound cluster-admin."),
    Item("contradicting", "olga", "Four requests were denied before the pod was deleted."),
    Item("contradicting", "olga", "The actor deleted 5 pods in 3 namespaces."),
    Item("contradicting", "olga", "The actor forwarded a port and minted tokens."),
    Item("contradicting", "system:anonymous", "All requests were allowed, including listing secrets."),
    Item("contradicting", "system:anonymous", "The anonymous client executed a command in a pod."),
    Item("contradicting", "system:anonymous", "Two of 30 requests were denied."),
    Item("contradicting", "system:anonymous", "The client approved a certificate signing request."),
    Item("contradicting", "system:anonymous", "Harmless health checks by a monitoring system."),
    Item("omitting", "olga", "The actor ran a command in a pod and deleted a workload, which may indicate tampering.", score=0.8),
    Item("omitting", "olga", "Suspicious deletion after an exec.", score=0.9),
    Item("omitting", "olga", "Logs were read and a deployment was patched: possible persistence.", score=0.7),
    Item("partly", "olga", "An exec and a deletion, though the actor did the same in earlier sessions as a matter of routine.", score=0.6),
    Item("partly", "olga", "Although this is its usual work, the deletion should be confirmed.", score=0.6),
)

# A second batch, written after the checker had been mended on the first and before it was run on this one.
SECOND: tuple[Item, ...] = (
    Item("honest", "mallory", "Within twelve seconds a developer went from listing secrets to holding cluster-admin."),
    Item("honest", "mallory", "Three secrets in kube-system were refused, two in the team's namespace were read."),
    Item("honest", "mallory", "The token of a pod was read through exec right after the binding was made."),
    Item("honest", "mallory", "The actor had only listed pods before; none of this is familiar work."),
    Item("honest", "mallory", "I see no webhook changes and no impersonation, but a severe escalation of rights."),
    Item("honest", "mallory", "One cluster role binding, one exec, and 6 secret requests from a new public address."),
    Item("honest", "olga", "A regular shift: the same six requests as in three earlier sessions.", score=0.1),
    Item("honest", "olga", "The exec opened a shell, which this actor often does; no privilege was gained.", score=0.2),
    Item("honest", "olga", "No attack visible. The pod deletion fits the deployment patch.", score=0.1),
    Item("honest", "olga", "One namespace, no denials, two writes.", score=0.1),
    Item("honest", "system:anonymous", "A stranger from outside tried to list secrets and create a pod, without success.", score=0.6),
    Item("honest", "system:anonymous", "Only the version call came through; 6 calls were rejected.", score=0.5),
    Item("contradicting", "mallory", "The user merely looked around; nothing was modified.", score=0.5),
    Item("contradicting", "mallory", "The actor opened a reverse shell and mounted the host filesystem."),
    Item("contradicting", "mallory", "Nine secrets were read without a single denial."),
    Item("contradicting", "mallory", "All requests came from a legitimate, routine deployment."),
    Item("contradicting", "mallory", "The actor created a cron job for persistence after reading 5 secrets."),
    Item("contradicting", "mallory", "No commands were run in any container.", score=0.5),
    Item("contradicting", "olga", "The actor changed CoreDNS and removed events to cover its tracks."),
    Item("contradicting", "olga", "An anonymous caller restarted the workload.", score=0.5),
    Item("contradicting", "olga", "Twelve pods were deleted in four namespaces."),
    Item("contradicting", "olga", "Access denied twice, then the actor escalated."),
    Item("contradicting", "system:anonymous", "The prober downloaded secrets and deleted namespaces."),
    Item("contradicting", "system:anonymous", "None of the requests were denied.", score=0.5),
)
