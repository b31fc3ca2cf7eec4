"""What Korean prose can speak of: things, what can be done to them, and the predicates that are then meant."""

from __future__ import annotations

import re
from typing import NamedTuple

_THINGS: tuple[tuple[str, str], ...] = (
    ("secrets", r"시크릿\S{0,2}(?:의)?(?: \S+){0,1}? ?목록|목록\S{0,2} 시크릿"), ("secret", r"시크릿|(?<![a-z])secrets?(?![a-z])"),
    ("admin", r"(?:cluster-admin|클러스터 ?관리자(?= ?(?:권한|역할|롤)))(?:\S{0,2} ?(?:권한|역할|롤)?\S{0,2} ?바인딩)?"),
    ("cluster_binding", r"클러스터 ?(?:역할|롤) ?바인딩|ClusterRoleBinding"), ("binding", r"(?:(?<![가-힣])(?:역할|롤) ?)?바인딩"),
    ("wild_role", r"와일드카드\S*(?: \S+){0,1}? ?(?:역할|롤)"), ("role", r"(?<![가-힣])(?:클러스터 ?)?(?:역할|롤)(?! ?바인딩|[가-힣]*백)"),
    ("account", r"서비스 ?(?:어카운트|계정)"), ("token", r"토큰"), ("command", r"명령어?|커맨드"),
    ("privileged_pod", r"특권\S{0,2} ?(?:파드|컨테이너)"), ("cron", r"크론 ?잡"), ("daemon", r"데몬 ?셋"), ("webhook", r"웹 ?훅"),
    ("pod", r"파드|컨테이너"), ("workload", r"디플로이먼트|워크로드|(?<![가-힣])잡(?=[을를이은 ])"), ("csr", r"인증서(?: 서명"
        r"| 발급)? ?요청|CSR"), ("certificate", r"인증서"), ("dns", r"(?:Core)?DNS"),
    ("event", r"이벤트"), ("namespace", r"네임스페이스"), ("config", r"컨피그 ?맵"), ("node", r"노드"), ("port", r"포트"),
    ("identity", r"신원|명의|(?:다른|남의|타인의?|동료의?) ?(?:사용자|계정|사람|이름|서비스 어카운트)?"), ("rights", r"권한"),
    ("thing", r"아무것|무언가|것(?=[은이도을 ])|객체|오브젝트|리소스|(?<=[가-힣] )(?:작업|요청|행위)(?=[은이도가는 ])"),
)
_READ = r"조회|열람|읽|들여다|가져|빼내|빼냈|훔|탈취|접근|손을 [대댔]|봤|보았|보고(?=[,\s])"
_ACTIONS: tuple[tuple[str, str], ...] = (
    ("list", r"나열|열거|훑"), ("read", _READ),
    ("make", r"생성|만들|만든|만드|작성|추가|설치|등록|배포|띄[우운웠]|기동|쓰기|썼|쓴(?= )|쓰려|올렸|올린"),
    ("change", r"변경|수정|바꾸|바꾼|바꿨|바뀌|바뀐|고치|고쳤|고친|편집|패치|갱신|덮어|넓[히혔혀]|조작"),
    ("delete", r"삭제|제거|지우|지운|지웠|지워|없애|없앴|없앤"), ("run", r"실행|돌[리렸린려]|수행"), ("enter", r"접속|들어가|들어간"
        r"|들어갔"),
    ("grant", r"부여|획득|얻|할당|줬|주었|넘겨|쥐여"), ("issue", r"발급|발행"), ("approve", r"승인|서명"), ("ask", r"확인|물[어었었]|점검"
        r"|문의"),
    ("pose", r"가장(?=[하한했해,]|\s*$)|사칭|행세|빌[려린렸리]|위장"), ("forward", r"포워딩|포워드"),
)
_EXEC = ("pod_exec", "pod_attach", "ephemeral_container", "kubelet_exec")
_TOKEN = ("token_request", "token_request_by_person", "secret_service_account_token")
# Bindings are deeds by their name: '바인딩을 시도했다'.
NAMED_DEEDS = frozenset({"binding", "cluster_binding", "admin", "csr"})
_WRITES = ("make", "change", "run")
DEEDS: dict[tuple[str, str], tuple[str, ...]] = {
    ("secrets", "read"): ("secret_list",), ("secrets", "list"): ("secret_list",), ("secrets", "self"): ("secret_list",),
    ("secret", "list"): ("secret_list", "secret_get"), ("secret", "read"): ("secret_get", "secret_list"),
    ("secret", "make"): ("secret_write",), ("secret", "change"): ("secret_write",), ("secret", "delete"): ("secret_delete",),
    **{(thing, action): (name,) for thing, name in (
        ("admin", "binding_cluster_admin"), ("cluster_binding", "binding_cluster_wide"), ("binding", "binding_write"))
       for action in ("make", "change", "grant", "self")},
    ("wild_role", "make"): ("role_wildcard",), ("wild_role", "change"): ("role_wildcard",),
    ("role", "make"): ("role_write",), ("role", "change"): ("role_write",), ("role", "read"): ("rbac_read",),
    ("account", "make"): ("service_account_create",), ("account", "pose"): ("impersonate",), ("identity", "pose"): ("impersonate",),
    ("token", "issue"): _TOKEN, ("token", "make"): _TOKEN, ("token", "read"): ("command_token_read",),
    ("command", "run"): _EXEC, ("pod", "enter"): _EXEC,
    **{("privileged_pod", action): ("pod_privileged",) for action in _WRITES},
    **{("cron", action): ("workload_scheduled",) for action in _WRITES},
    **{("daemon", action): ("workload_on_every_node",) for action in _WRITES},
    **{(thing, action): ("workload_write",) for thing in ("pod", "workload") for action in ("make", "change")},
    **{(thing, "delete"): ("workload_delete",) for thing in ("pod", "workload", "cron", "daemon", "privileged_pod")},
    ("webhook", "make"): ("webhook_write",), ("webhook", "change"): ("webhook_write",), ("webhook", "delete"): ("webhook_delete",),
    **{("csr", action): ("csr_create",) for action in ("make", "self", "issue")}, ("csr", "approve"): ("csr_approve",),
    ("certificate", "approve"): ("csr_approve",), ("certificate", "make"): ("csr_create",), ("certificate", "issue"): ("csr_create",),
    ("dns", "change"): ("coredns_write",), ("dns", "make"): ("coredns_write",), ("event", "delete"): ("events_delete",),
    ("namespace", "delete"): ("namespace_delete",), ("config", "read"): ("config_read",), ("rights", "ask"): ("access_review",),
    ("port", "forward"): ("port_forward",), ("thing", "delete"): ("delete_any",), ("thing", "change"): ("write_or_delete",),
    ("thing", "make"): ("write_or_delete",),
}
_THING = re.compile("|".join(f"(?P<{name}>{pattern})" for name, pattern in _THINGS), re.IGNORECASE)
_ACTION = re.compile("|".join(f"(?P<{name}>{pattern})" for name, pattern in _ACTIONS))


class Word(NamedTuple):
    """A thing or an action of a text, and where."""

    kind: str
    start: int
    end: int


def find_things(text: str) -> list[Word]:
    """Return what a text names.

    >>> [word.kind for word in find_things("노드에서 시크릿 목록을 조회했다")]
    ['node', 'secrets']
    """
    return [Word(match.lastgroup or "", match.start(), match.end()) for match in _THING.finditer(text)]


def find_actions(text: str) -> list[Word]:
    """Return what a text says is done.

    >>> [word.kind for word in find_actions("파드를 만들고 명령을 실행했다")]
    ['make', 'run']
    """
    return [Word(match.lastgroup or "", match.start(), match.end()) for match in _ACTION.finditer(text)]
