"""Take every secret out of a recorded record before it becomes a template.

Bodies are scrubbed by permission, not by suspicion: a text survives only under a key that says what it is (a name, a kind,
an image, a capability …); every other text becomes `***`. Numbers, truth values and the structure stay, so that the record
keeps its shape. Requests, clients and commands, which people read, are kept but for words that look like secrets.
"""

from __future__ import annotations

import base64
import re
from functools import lru_cache
from typing import Any
from urllib.parse import unquote_plus

from audit_lab.hostile import hostile_text

MASK = "***"
_MASK_BASE64 = base64.b64encode(MASK.encode()).decode()

# Keys of bodies whose text names, classifies or times something. What is not here is masked.
_KEPT = frozenset({
    "name", "namespace", "generateName", "kind", "apiVersion", "apiGroup", "apiGroups", "apiVersions", "group", "groups", "version",
    "resource", "resources", "resourceNames", "subresource", "verb", "verbs", "nonResourceURLs", "path", "op", "from", "user", "users",
    "username", "uid", "singular", "plural", "listKind", "scope", "serviceAccountName", "serviceAccount", "nodeName", "hostname",
    "subdomain", "serviceName", "secretName", "signerName", "usages", "audiences", "type", "failurePolicy", "sideEffects",
    "matchPolicy", "operations", "admissionReviewVersions", "host", "image", "imagePullPolicy", "restartPolicy", "dnsPolicy",
    "schedulerName", "policyTypes", "pathType", "protocol", "operator", "key", "values", "effect", "phase", "reason", "status",
    "strategy", "concurrencyPolicy", "podManagementPolicy", "propagationPolicy", "qosClass", "mountPath", "terminationMessagePath",
    "terminationMessagePolicy", "schedule", "storageClassName", "accessModes", "add", "drop", "ip", "ips", "podIP", "podIPs", "hostIP",
    "clusterIP", "clusterIPs", "address", "podCIDR", "podCIDRs", "resourceVersion", "selfLink", "creationTimestamp",
    "deletionTimestamp", "lastTransitionTime", "lastUpdateTime", "lastHeartbeatTime", "lastScheduleTime", "lastProbeTime",
    "completionTime", "startTime", "startedAt", "finishedAt", "timeAdded", "renewTime", "acquireTime", "holderIdentity",
    "expirationTimestamp", "cpu", "memory", "pods", "maxSurge", "maxUnavailable", "preemptionPolicy", "sessionAffinity",
    "operatingSystem", "architecture", "kubeletVersion", "fieldPath", "targetContainerName", "finalizers", "app", "pod-template-hash",
    "controller-uid", "job-name", "imageID", "names", "containerRuntimeVersion", "kernelVersion", "osImage", "currentRevision",
    "updateRevision", "containerPort", "providerID",
})
_LABELS = frozenset({"labels", "matchLabels", "nodeSelector"})
_PRIVATE = frozenset({"data", "stringData", "binaryData", "annotations", "env"})
_DROPPED = frozenset({"managedFields"})  # half of every body, and what `omitManagedFields` of an audit policy leaves out too
_COPY = "kubectl.kubernetes.io/last-applied-configuration"
_NOTES = re.compile(
    r"^(authorization|authentication|audit|pod-security|(mutation|validation)\.webhook\.admission)?\.?(k8s|kubernetes)\.io/"
)
_QUERY = frozenset({
    "limit", "watch", "timeout", "timeoutSeconds", "resourceVersion", "resourceVersionMatch", "fieldSelector", "labelSelector",
    "allowWatchBookmarks", "fieldManager", "fieldValidation", "dryRun", "force", "pretty", "command", "container", "stdin", "stdout",
    "stderr", "tty", "previous", "follow", "tailLines", "sinceSeconds", "timestamps", "gracePeriodSeconds", "propagationPolicy",
    "orphanDependents", "path", "ports", "as", "cmd", "includeObject",
})
_WORD = r"[\w.-]*(?:pass(?:word|wd|phrase)?|secret|token|api[_-]?key|access[_-]?key|credential|auth|bearer|pwd|signature)[\w.-]*"
_FLAG = re.compile(rf"^--?{_WORD}$", re.IGNORECASE)
# Names of service accounts, UIDs and the times in names of events look like secrets; they are matched first and kept.
_SECRET = re.compile(
    r"(?P<kept>\bsystem:[\w:.-]+|\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b|\.1[0-9a-f]{15}\b)"
    r"|(?P<login>://[^/\s:@]*:)[^/\s@]+(?=@)|(?P<option>\s-u\s+[^\s:]+:)[^\s]+"
    rf"|(?i:(?P<assigned>{_WORD}[\"']?\s*(?:=|:|%3D|%3A)\s*[\"']?|--?{_WORD}\s+|\bmysql\S*\s.*?-p)(?:(?:bearer|basic|digest)\s+)?)[^\s&\"',;)}}\]]+"
    # Letters and digits, twelve or more, three of them digits: keys, hashes, wallets. Words of a command are shorter or plainer.
    r"|(?<![A-Za-z0-9+/=_])(?=[A-Za-z0-9+=_]*[A-Za-z])(?=(?:[A-Za-z+=_]*[0-9]){3})[A-Za-z0-9+=_]{12,}(?![A-Za-z0-9])"
)
_EMAIL = re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+")
_LABEL = re.compile(r"^[A-Za-z0-9._-]{0,63}$")


class Scrubber:
    """Scrubs records and remembers the texts it took out, so that they can be looked for elsewhere."""

    def __init__(self) -> None:
        self.removed: set[str] = set()

    def record(self, record: dict[str, Any]) -> dict[str, Any]:
        """Return a copy of an audit record without secrets, keys in the same order."""
        clean: dict[str, Any] = {}
        for key, value in record.items():
            if key in ("requestObject", "responseObject"):
                clean[key] = self._body(value, key, secret=_is_secret(record, value))
            elif key == "requestURI":
                clean[key] = scrub_uri(str(value))
            elif key == "userAgent":
                clean[key] = scrub_words(str(value))
            elif key == "annotations":
                clean[key] = {name: text if _NOTES.match(name) else MASK for name, text in value.items()}
            elif key == "user":
                clean[key] = _user(value)
            elif key == "objectRef" and "name" in value:
                clean[key] = {**value, "name": scrub_words(value["name"])}
            elif key == "responseStatus" and "message" in value:
                clean[key] = {**value, "message": scrub_words(value["message"])}
            else:
                clean[key] = value
        return clean

    def _body(self, value: Any, key: str, *, secret: bool) -> Any:
        if isinstance(value, dict):
            return self._object(value, key, secret=secret)
        if isinstance(value, list):
            if key in ("command", "args", "cmd") and all(isinstance(item, str) for item in value):
                return scrub_command(value)
            return [self._operation(item, secret=secret) if _is_operation(item) else self._body(item, key, secret=secret) for item in value]
        return self._text(value, key) if isinstance(value, str) else value

    def _operation(self, operation: dict[str, Any], *, secret: bool) -> dict[str, Any]:
        """Scrub one operation of a JSON patch: its value stands where its path says."""
        steps = [step.replace("~1", "/").replace("~0", "~") for step in operation["path"].split("/")]
        key = next((step for step in reversed(steps) if step != "-" and not step.isdigit()), "")
        value = operation["value"]
        if any(step in _PRIVATE for step in steps[:-1]):
            # Below data, annotations or environment any name may stand, also one that is harmless elsewhere.
            value = self._body({"data": value if isinstance(value, dict) else {key: value}}, "", secret=False)["data"]
            value = value if isinstance(operation["value"], dict) else value[key]
        else:
            value = self._body(value, key, secret=secret)
        return {**operation, "value": value}

    def _object(self, value: dict[str, Any], key: str, *, secret: bool) -> dict[str, Any]:
        if key in ("data", "stringData", "binaryData"):
            mask = _MASK_BASE64 if secret and key == "data" else MASK
            return {name: self._secret(text, mask) for name, text in value.items()}
        if key in _LABELS or (key == "selector" and all(isinstance(text, str) for text in value.values())):
            return {name: self._label(text) for name, text in value.items()}
        if key == "annotations":
            return {name: self._annotation(text) for name, text in value.items() if name != _COPY}
        return {name: self._body(item, name, secret=secret) for name, item in value.items() if name not in _DROPPED}

    def _text(self, text: str, key: str) -> str:
        if key in ("url", "message", "reason"):
            return scrub_words(text)
        # Of a certificate signing request only the names are wanted; whoever renders it makes the rest anew.
        if not text or key == "request" or (key in _KEPT and len(text) <= 256):
            return text
        return str(self._secret(text, MASK)) if key == "value" or _FLAG.match("-" + key) else MASK

    def _label(self, text: Any) -> Any:
        return text if not isinstance(text, str) or (_LABEL.match(text) and scrub_words(text) == text) else MASK

    def _annotation(self, text: Any) -> Any:
        # A text that talks to its reader is the point of the attack that wrote it; it is kept but for words like secrets.
        if isinstance(text, str) and hostile_text(text, prose=True) and not text.lstrip().startswith(("{", "[")):
            return _EMAIL.sub(MASK, scrub_words(text))
        return MASK

    def _secret(self, value: Any, mask: str) -> Any:
        if isinstance(value, str) and len(value) >= 8 and any(character.isdigit() for character in value):
            self.removed.add(value)
        return mask


@lru_cache(1 << 16)
def scrub_words(text: str) -> str:
    """Mask what looks like a secret in a text that people write: assignments, logins in addresses, long keys.

    >>> scrub_words("curl --token=abc http://u:pw@host/x 4f1d9c0b7a65e2d8 system:serviceaccount:secrets:x")
    'curl --token=*** http://u:***@host/x *** system:serviceaccount:secrets:x'
    """
    return _SECRET.sub(_mask, text)


def scrub_command(words: list[str]) -> list[str]:
    """Mask the secrets of a command that is given word by word.

    >>> scrub_command(["login", "--password", "hunter2"])
    ['login', '--password', '***']
    """
    clean, after_flag = [], False
    for word in words:
        clean.append(MASK if after_flag else scrub_words(word))
        after_flag = bool(_FLAG.match(word))
    return clean


def scrub_uri(uri: str) -> str:
    """Mask the values of unknown query parameters, list positions, and secret-looking words of commands.

    >>> scrub_uri("/api/v1/pods?limit=500&continue=eyJ2&access_token=x&command=cat")
    '/api/v1/pods?limit=500&continue=***&access_token=***&command=cat'
    """
    path, mark, query = uri.partition("?")
    path = scrub_words(path)
    if not mark:
        return path
    parts, after_flag = [], False
    for part in query.split("&"):
        key, equals, value = part.partition("=")
        if key not in _QUERY:
            # The name of an unknown parameter is anybody's text as well; only plain words stay.
            plain = re.fullmatch(r"[A-Za-z_.-]{1,32}", key)
            parts.append(f"{key if plain else MASK}{equals}{MASK if equals else ''}")
        elif key in ("command", "cmd", "path"):
            text = unquote_plus(value)
            parts.append(f"{key}={MASK}" if after_flag or scrub_words(text) != text else part)
            after_flag = bool(_FLAG.match(text))
        else:
            parts.append(part)
    return f"{path}?{'&'.join(parts)}"


def _mask(match: re.Match[str]) -> str:
    return match["kept"] or (match["login"] or match["option"] or match["assigned"] or "") + MASK


def _user(user: dict[str, Any]) -> dict[str, Any]:
    if "extra" not in user:
        return user
    extra = {key: values if key.startswith("authentication.kubernetes.io/") else [MASK] for key, values in user["extra"].items()}
    return {**user, "extra": extra}


def _is_operation(item: Any) -> bool:
    return isinstance(item, dict) and "op" in item and isinstance(item.get("path"), str) and "value" in item


def _is_secret(record: dict[str, Any], body: Any) -> bool:
    kind = body.get("kind", "") if isinstance(body, dict) else ""
    return (record.get("objectRef") or {}).get("resource") == "secrets" or kind in ("Secret", "SecretList")
