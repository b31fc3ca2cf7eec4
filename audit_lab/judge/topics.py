"""What English prose can speak of: phrases, and the predicates that must then have happened.

A topic is something done to something: verbs and nouns, in either order ('listed secrets', 'secrets were listed', 'the listing of
secrets'). Topics serve to hold a model's own words against the tables; they never decide a verdict.
"""

from __future__ import annotations

import re
from functools import cache
from typing import NamedTuple


class Topic(NamedTuple):
    """Words for one kind of deed, and the predicates it may mean; a more special topic stands before a more general one."""

    predicates: tuple[str, ...]
    verbs: str
    nouns: str
    # The noun names the deed, whatever the verb.
    alone: bool = False
    # The noun may also be who acts: only 'service accounts were created' says that some were.
    acts: bool = False
    # What the words may mean as well, where none of the predicates happened: the secrets of all namespaces, listed one after the other.
    otherwise: tuple[str, ...] = ()


_LIST = r"list|enumerat|dump"
_READ = r"read|fetch|retriev|obtain|download|took|taken|steal|stole|access|harvest|siphon|exfiltrat|grab"
_MAKE = r"creat|made|mak|deploy|start|add|install|launch|spawn|wrote|writ|regist|plant|set up|put in place"
_WRITE = rf"{_MAKE}|modif|chang|edit|patch|updat|alter|tamper|rewr|rewrot|manipulat|overwr|overwrot|replac"
_DELETE = r"delet|remov|destroy|wip|clean|eras|purg|dropp|tore down|torn down|got rid of|taken down|took down"
_RUN = r"execut|ran|run|exec|issu"
_BIND = r"bind|bound|grant|gave|giv|got|obtain|assign|escalat|creat|wrote|writ|made|add|hold|had|put in place"
# 'The daemon set was rejected' says that somebody wanted to write it.
_TURNED_DOWN = r"reject|refus|den(?:y|ied)|forbid|block"

TOPICS: tuple[Topic, ...] = (
    Topic(("secret_list_everywhere",), _LIST, r"secrets? (?:of|in|from|across) (?:all|every) (?:the )?namespaces?",
          otherwise=("secret_list",)),
    Topic(("secret_list",), _LIST, r"secrets?"),
    Topic(("secret_delete",), _DELETE, r"secrets?"),
    Topic(("secret_write",), _WRITE, r"secrets?"),
    Topic(("secret_get", "secret_list"), _READ, r"secrets?"),
    Topic(("nodes_proxy",), r"node[- ]proxy (?:requests?|calls?)", ""),
    Topic(("kubelet_exec", "nodes_proxy"), _RUN, r"nodes?", acts=True),
    Topic(("pod_exec", "pod_attach", "ephemeral_container", "kubelet_exec"), _RUN, r"commands?|containers?|pods?|shells?"),
    Topic(("pod_privileged",), rf"{_MAKE}|{_TURNED_DOWN}", r"privileged (?:pods?|containers?)"),
    Topic(("pod_host_path", "pod_host_pid", "pod_host_network"), rf"{_MAKE}|exist|{_TURNED_DOWN}",
          r"pods? with (?:\w+ )?(?:access to the|the) (?:host|node)(?:'s \w+)?|pods? with host access|host[- ]mounting pods?"),
    Topic(("workload_scheduled",), rf"{_WRITE}|{_TURNED_DOWN}", r"cron ?jobs?"),
    Topic(("workload_on_every_node",), rf"{_WRITE}|{_TURNED_DOWN}", r"daemon ?sets?"),
    Topic(("workload_delete",), _DELETE, r"workloads?|pods?|deployments?|jobs?|replica ?sets?"),
    Topic(("workload_write",), _WRITE, r"workloads?|pods?|deployments?|(?<!cron )jobs?"),
    Topic(("binding_cluster_admin",), _BIND, r"cluster-admin", alone=True),
    Topic(("binding_cluster_wide",), rf"{_BIND}|{_TURNED_DOWN}", r"cluster ?role ?bindings?"),
    Topic(("binding_write",), rf"{_BIND}|{_TURNED_DOWN}", r"role ?bindings?|(?<!role )bindings?"),
    Topic(("role_wildcard",), _WRITE, r"roles? with wildcard(?: rights)?|wildcard roles?"),
    Topic(("role_write",), _WRITE, r"roles?(?! ?binding)"),
    Topic(("webhook_delete",), _DELETE, r"webhooks?"),
    Topic(("webhook_write",), _WRITE, r"webhooks?"),
    Topic(("token_request", "token_request_by_person", "secret_service_account_token"), r"mint|issu|request|generat|creat", r"tokens?"),
    Topic(("command_token_read",), _READ, r"tokens?"),
    Topic(("service_account_create",), _MAKE, r"service accounts?", acts=True),
    Topic(("csr_approve",), r"approv|sign", r"certificate(?: signing)? requests?|csrs?|certificates?"),
    Topic(("csr_create",), rf"{_MAKE}|submit|request|ask", r"certificate(?: signing)? requests?|csrs?"
        r"|(?:client )?certificates?(?! (?:signing )?requests?)"),
    Topic(("coredns_write",), _WRITE, r"(?:core)?dns"),
    Topic(("events_delete",), _DELETE, r"events(?: of| to|$)"),
    Topic(("namespace_delete",), _DELETE, r"namespaces?"),
    Topic(("impersonate",), r"impersonat\w*|act(?:ed|ing)? as|pos(?:ed|ing) as"
          r"|borrow(?:ed|ing|s)?(?: [\w'-]+){1,4} identit(?:y|ies)|identit(?:y|ies) (?:was|were|had been) borrowed", ""),
)


# Words that part a verb from a noun: what stands behind them is not its object.
_APART = "and|or|nor|but|then|before|after|while|which|under|by|from|with|via|through|as|for|than|because"


class Mention(NamedTuple):
    """A topic found in a text, and where."""

    topic: Topic
    start: int
    end: int
    words: str


def find_mentions(text: str) -> list[Mention]:
    """Return what a sentence speaks of, in order; where two topics share words, the one with more of them stays.

    >>> [mention.topic.predicates[0] for mention in find_mentions("It listed secrets before a webhook was deleted.")]
    ['secret_list', 'webhook_delete']
    """
    found: list[tuple[int, int, Mention]] = []
    for place, topic in enumerate(TOPICS):
        for pattern in _patterns(place):
            for match in pattern.finditer(text):
                between = len((match.groupdict().get("gap") or "").split())
                found.append((between, place, Mention(topic, match.start(), match.end(), match.group(0))))
    kept: list[Mention] = []
    # Verb and noun that stand closest belong together: 'listed secrets', not 'listed pods and then read secrets'.
    for _, _, mention in sorted(found, key=lambda one: (one[0], one[1], one[2].start)):
        if all(mention.end <= other.start or mention.start >= other.end for other in kept):
            kept.append(mention)
    return sorted(kept, key=lambda one: one.start)


@cache
def _patterns(place: int) -> tuple[re.Pattern[str], ...]:
    topic = TOPICS[place]
    if not topic.nouns:
        return (re.compile(rf"\b(?:{topic.verbs})\b", re.IGNORECASE),)
    alone = [re.compile(topic.nouns)] if topic.alone else []
    verbs, nouns = rf"\b(?:{topic.verbs})[a-z]*\b", rf"\b(?:{topic.nouns})(?![\w-]|'s\b)"
    # No other verb of a past in between, and no end of a sentence.
    gap = rf"(?P<gap>(?:[ -]+(?!(?:{_APART})\b)[\w'-]+){{0,4}}?)[ -]+"
    were = r"(?P<gap>(?: \w+){0,2} (?:was|were|been|being|is|are|got)(?: \w+)?) "
    passive = f"{nouns}{were if topic.acts else gap}{verbs}"
    return (re.compile(f"{verbs}{gap}{nouns}", re.IGNORECASE), re.compile(passive, re.IGNORECASE), *alone)
