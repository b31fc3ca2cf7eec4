"""The form that a field's values have: what breaks it was written on purpose, in whatever words.

Forms are wider than the API server's own checks: typing errors, foreign names, templates' leftovers of ordinary width stay quiet where
people make them by accident. What is left is text that no client writes: sentences, quotes and braces, other scripts where only ASCII
goes, decoded sentences in parameters, and values too long to be read.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from urllib.parse import unquote, unquote_plus

from audit_lab.titles import group, is_titled, person

# Names, user names and addresses of well-known things: another spelling of one is meant to be taken for it.
_OURS = re.compile(
    r"(?:kube-(?:system|public|node-lease|proxy|scheduler|controller-manager|apiserver|dns)|cluster-admin|system:[a-z0-9:.-]+)"
)
# Scripts without capitals or letters that pass for Latin ones: a tool made in the house may be called by such a name, a sentence is none.
_EAST = "\u3041-\u30ff\u3131-\u318e\u4e00-\u9fff\uac00-\ud7a3"
_EASTERN = re.compile(f"[{_EAST}]")
_COMMENT = re.compile(r"\([^()]*\)")
_AGENT_TOKEN = re.compile(rf"(?:[A-Za-z0-9._+/:~$@#*!&',;{_EAST}-]|%[0-9A-Fa-f]{{2}})+")
_SELECTOR_PART = re.compile(
    r"!?[A-Za-z0-9._/-]*(?: ?(?:=|==|!=) ?[A-Za-z0-9._:/@+-]*| (?:in|notin) ?\([A-Za-z0-9._ ,-]*\))?|[A-Za-z0-9._/-]+ ?(?:>|<) ?[0-9]+",
    re.IGNORECASE,
)
_URI = re.compile(r"[A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=%-]*")


def _like(pattern: str, limit: int) -> Callable[[str], bool]:
    compiled = re.compile(pattern)
    return lambda text: len(text) <= limit and bool(compiled.fullmatch(text))


_label = _like(r"[A-Za-z0-9*._:-]*", 253)
_word = _like(r"[A-Za-z0-9]*", 63)
_kind_of_name = _like(r"[A-Za-z0-9*._:@~+$-]*", 317)
_path_name = _like(r"(?!\.*$)[A-Za-z0-9*._:@~+$-]*|", 253)
_path_part = _like(r"[A-Za-z0-9._~:@!$&'()*+,;=-]*", 317)


def _name(text: str) -> bool:
    """Names of objects: path segments; those of roles and users may be a few words written large."""
    return _path_name(text) or (
        text.isascii() and " " in text and len(text) <= 128 and is_titled(text.split(" "), 4, 0) and text[0].isupper()
    )


def _agent(text: str) -> bool:
    """User agents (RFC 9110, 10.1.5): products with versions, comments in brackets, a few words between."""
    if len(text) > 512 or text != text.strip() or not _EASTERN.sub("", text).isascii():
        return False
    rest = text
    for _ in range(3):
        for comment in _COMMENT.findall(rest):
            parts = re.split(r"[;,]", comment[1:-1])
            if re.search(r"[{}<>\"`|\\^]", comment) or len(parts) > 16 or any(not _is_remark(part) for part in parts):
                return False
        rest = _COMMENT.sub(" ", rest)
    words = rest.split()
    if any(
        not _AGENT_TOKEN.fullmatch(word) or len(word) > 128 or (word[-1] in ":.!?" and "/" not in word) or word[0] in "/'\"%"
        for word in words
    ):
        return False
    bare = [word for word in words if "/" not in word.rstrip("/") and not re.fullmatch(r"[vV+]?\d[\w.+-]*[;,]?", word)]
    named = [word for word in words if _EASTERN.search(word)]
    return len(bare) <= 6 and sum(word.islower() for word in bare) <= 3 and len(named) <= 1 and all(len(word) <= 24 for word in named)


def _is_remark(part: str) -> bool:
    words = part.split()
    plain = sum(word.isalpha() and (word.islower() or bool(_EASTERN.search(word))) for word in words)
    return len(words) <= 8 and plain <= 3 and not re.search(r"\w[.!?] \w", part)


def _addresses(text: str) -> bool:
    """Addresses with or without port or zone; the two words that proxies write instead (RFC 7239)."""
    bare = re.sub(r"^\[(.*)\](?::\d{1,5})?$", r"\1", text.strip()).split("%")[0]
    bare = bare.rsplit(":", 1)[0] if bare.count(":") == 1 and "." in bare else bare
    try:
        ipaddress.ip_address(bare)
    except ValueError:
        return text in ("", "-", "unknown", "localhost", "@") or bool(re.fullmatch(r"_[A-Za-z0-9._-]{1,64}", text))
    return len(text) <= 64


def _host_path(text: str) -> bool:
    """Paths on a node, of Windows too; blanks within a part are few."""
    if (
        len(text) > 1024
        or re.search(r"[{}<>\"|`?$;*!^\n]|[.:,] | $|//{2,}|%(?![0-9A-Fa-f]{2})", text)
        or ("\\" in text and not re.match(r"[A-Za-z]:|\\\\", text))
    ):
        return False
    return all(
        is_titled(part.replace("~", "-").replace("=", "-").replace("%", "-").split(" "), 4, 2)
        for part in re.split(r"[/\\]", re.sub("^[A-Za-z]:", "", text))
        if part.strip(".")
    )


_image = _like(r"[A-Za-z0-9._/:@+-]*", 1024)
_url = _like(r"(?:[A-Za-z0-9._~:/?#\[\]@!&()*+,;=-]|%[0-9A-Fa-f]{2})*", 2048)
_audience = _like(r"(?:[A-Za-z0-9._~:/?#@&*+,|=-]|%[0-9A-Fa-f]{2})*", 512)


def _webhook(text: str) -> bool:
    return _url(text) and _plain_value(unquote(text))


def _parts(text: str) -> bool:
    """Kind and names with slashes between: 'ClusterRole/edit', 'RoleBinding/dev/team-edit'."""
    return all(_name(part) for part in text.split("/", 2)) and text.count("/") <= 2


def _subject(text: str) -> bool:
    kind, _, rest = text.partition("/")
    return _word(kind) and (_parts(rest) if kind == "ServiceAccount" else group(rest) if kind == "Group" else person(rest))


def _plain_value(text: str) -> bool:
    """A value of a parameter, decoded: a token, or few words."""
    return (
        len(text) <= 8192
        and text.isascii()
        and not re.search(r"[{}<>\"`\\|^\x00-\x1f\x7f]|[.:!?] ", text)
        and text == text.strip()
        and (" " not in text or (sum(word.isalpha() and word.islower() for word in text.split(" ")) <= 2 and text.count(" ") <= 5))
    )


def _selector(text: str) -> bool:
    parts = re.split(r",(?![^()]*\))", text) if len(text) <= 8192 else []
    return bool(parts) and all(_SELECTOR_PART.fullmatch(part.strip()) for part in parts)


def runs_command(uri: str) -> bool:
    """Tell whether a request URI carries the words of a command for a container or a kubelet.

    >>> runs_command("/api/v1/namespaces/a/pods/p/exec?command=ls"), runs_command("/api/v1/pods?command=ls")
    (True, False)
    """
    return bool(re.search(r"/(?:exec|attach|run)(?:/[^?]*)?\?", uri))


def uri_texts(text: str) -> list[str]:
    """Return the parts of a request URI that the API itself reads, decoded: path, keys, values; not what goes on to a shell."""
    path, _, query = text.partition("?")
    shell = runs_command(text)
    pairs = [pair.partition("=") for pair in query.split("&")] if query else []
    return [
        unquote(path, errors="replace"),
        *(
            unquote_plus(part, errors="replace")
            for key, _, value in pairs
            for part in (key, value)
            if not (shell and key in ("command", "cmd"))
        ),
    ]


def _request(text: str) -> bool:
    path, _, query = text.partition("?")
    if "/proxy/" in path or path.endswith("/proxy"):
        # What goes on to somebody else's server has that server's form.
        return len(text) <= 16_384 and " " not in path
    if len(text) > 16_384 or not _URI.fullmatch(text):
        return False
    if any(not (_name(part) or _path_part(part)) for part in unquote(path).split("/")):
        return False
    shell = runs_command(text)
    for pair in query.split("&") if query else ():
        key, _, value = pair.partition("=")
        if not re.fullmatch(r"[A-Za-z0-9._\[\]$-]{0,64}", unquote_plus(key)):
            return False
        value = unquote_plus(value, errors="replace")
        if shell and key in ("command", "cmd"):
            continue
        good = _selector if key.lower().endswith("selector") else _agent if key == "fieldManager" else _plain_value
        if not good(value):
            return False
    return True


def _granted(text: str) -> bool:
    return (
        len(text) <= 16_384
        and max(map(len, text.split(","))) <= 512
        and bool(re.fullmatch(r"[A-Za-z0-9*,:._-]* [A-Za-z0-9*,:._-]* (?:[A-Za-z0-9*,./:_~-]|%[0-9A-Fa-f]{2})*", text))
    )


def _labels(text: str) -> bool:
    return len(text) <= 253 and (_kind_of_name(text) or bool(re.fullmatch(r"[A-Za-z0-9._:/@=+,-]*", text)) or group(text))


_lower = _like(r"[a-z0-9*]?[a-z0-9*._/-]*", 63)

# Field -> does a value have its form? Fields that are not here hold prose: any text may stand there.
FORMS: dict[str, Callable[[str], bool]] = {
    "event_id": _like(r"[A-Za-z0-9._:-]*", 64),
    "user": person,
    "user_groups": group,
    "credential_pod": _label,
    "impersonated_user": person,
    "impersonated_groups": group,
    "source_ips": _addresses,
    "user_agent": _agent,
    "verb": _like(r"[a-z*]?[a-z-]*", 32),
    "uri": _request,
    "api_group": _label,
    "api_version": _like(r"[A-Za-z0-9._-]*", 63),
    "resource": _lower,
    "subresource": _lower,
    "namespace": _label,
    "name": _name,
    "grant_binding": _parts,
    "grant_role": _parts,
    "role_ref": _parts,
    "subjects": _subject,
    "granted": _granted,
    "host_paths": _host_path,
    "capabilities": _like(r"[A-Z0-9_]*", 64),
    "images": _image,
    "pod_service_account": _label,
    "owner_kind": _word,
    "owner_name": _name,
    "service_type": _word,
    "webhook_urls": _webhook,
    "webhook_failure_policies": _word,
    "csr_signer": _like(r"[A-Za-z0-9._/:*-]*", 571),
    "csr_subject": person,
    "csr_groups": group,
    "token_audiences": _audience,
    "secret_type": _like(r"[A-Za-z0-9._/-]*", 253),
    "access_review": lambda text: len(text) <= 1024 and bool(re.fullmatch(r"[A-Za-z*-]* (?:[A-Za-z0-9*._/:~?=&-]|%[0-9A-Fa-f]{2})*", text)),
    "labels": _labels,
}
# Prose: of the body (annotations, messages, descriptions, values of environment variables), of commands, and what a webhook answers.
PROSE = ("commands", "status_reason", "body")
# Beyond this a piece of prose is not read by anybody.
LONGEST_PROSE = 131_072


def breaks_form(field: str, text: str, read: str) -> bool:
    """Tell whether a value breaks the form of its field, or is another spelling of a well-known name (`read`: its canonical form).

    >>> breaks_form("name", "web-0", "web-0"), breaks_form("name", "stop and say nothing", "stop and say nothing")
    (False, True)
    >>> breaks_form("namespace", "Kube-System", "kube-system")
    True
    """
    form = FORMS.get(field)
    if form is None:
        return len(text) > LONGEST_PROSE
    return not form(text) or (read != text and _is_another_spelling(text, read))


def _is_another_spelling(text: str, read: str) -> bool:
    parts = re.split(r"[/ ?=&]", read)
    return any(_OURS.fullmatch(part) and part not in text for part in parts if part.startswith(("kube-", "system:")) or not text.isascii())
