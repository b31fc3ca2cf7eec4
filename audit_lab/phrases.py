"""The words for predicates, in English and Korean: kept apart so that translators meet no code.

Each predicate has three phrases: what the actor would do (after "tried to …"), what it did (after "the actor …"),
and a Korean noun phrase. A test holds that every predicate has words and every word a predicate.
"""

from __future__ import annotations

WORDS: dict[str, tuple[str, str, str]] = {
    "secret_get": ("read a secret by name", "read a secret by name", "시크릿 개별 조회"),
    "secret_list": ("list secrets", "listed secrets", "시크릿 목록 조회"),
    "secret_list_everywhere": (
        "list the secrets of all namespaces",
        "listed the secrets of all namespaces",
        "모든 네임스페이스의 시크릿 목록 조회",
    ),
    "secret_write": ("write a secret", "wrote a secret", "시크릿 쓰기"),
    "secret_delete": ("delete secrets", "deleted secrets", "시크릿 삭제"),
    "secret_service_account_token": (
        "make a secret that holds a service account's token",
        "made a secret that holds a service account's token",
        "서비스 어카운트 토큰을 담는 시크릿 생성",
    ),
    "secret_in_system": (
        "read secrets of a system namespace",
        "read secrets of a system namespace",
        "시스템 네임스페이스의 시크릿 조회",
    ),
    "token_request": (
        "ask for a service account's token",
        "asked for a service account's token",
        "서비스 어카운트 토큰 발급 요청",
    ),
    "token_request_by_person": (
        "mint a service account's token as neither node nor controller",
        "minted a service account's token as neither node nor controller",
        "노드나 컨트롤러가 아닌 주체의 서비스 어카운트 토큰 발급",
    ),
    "token_long_lived": (
        "ask for a token that lives longer than a day",
        "asked for a token that lives longer than a day",
        "하루 넘게 유효한 토큰 발급 요청",
    ),
    "token_in_system": (
        "ask for a token of a system namespace's service account",
        "asked for a token of a system namespace's service account",
        "시스템 네임스페이스 서비스 어카운트의 토큰 발급 요청",
    ),
    "config_read": ("read config maps", "read config maps", "컨피그맵 조회"),
    "pod_exec": ("run a command in a container", "ran a command in a container", "컨테이너 내 명령 실행"),
    "pod_exec_in_system": (
        "run a command in a pod of a system namespace",
        "ran a command in a pod of a system namespace",
        "시스템 네임스페이스 파드 내 명령 실행",
    ),
    "pod_attach": ("attach to a container", "attached to a container", "컨테이너 연결(attach)"),
    "port_forward": ("forward a port of a pod", "forwarded a port of a pod", "파드 포트 포워딩"),
    "ephemeral_container": (
        "put a debug container into a running pod",
        "put a debug container into a running pod",
        "실행 중인 파드에 임시 컨테이너 추가",
    ),
    "nodes_proxy": (
        "talk to a node's kubelet through the API server",
        "talked to a node's kubelet through the API server",
        "API 서버를 통한 노드 kubelet 접근",
    ),
    "kubelet_exec": (
        "run or list containers on a node through its kubelet",
        "ran or listed containers on a node through its kubelet",
        "노드 kubelet을 통한 컨테이너 실행·조회",
    ),
    "service_proxy": (
        "reach a pod or service through the API server",
        "reached a pod or service through the API server",
        "API 서버를 통한 파드·서비스 접근",
    ),
    "pod_logs": ("read a pod's log", "read a pod's log", "파드 로그 조회"),
    "pod_privileged": ("start a privileged container", "started a privileged container", "특권 컨테이너 생성"),
    "pod_host_pid": (
        "start a pod in the host's process space",
        "started a pod in the host's process space",
        "호스트 PID를 공유하는 파드 생성",
    ),
    "pod_host_network": (
        "start a pod in the host's network",
        "started a pod in the host's network",
        "호스트 네트워크를 공유하는 파드 생성",
    ),
    "pod_host_ipc": (
        "start a pod in the host's IPC space",
        "started a pod in the host's IPC space",
        "호스트 IPC를 공유하는 파드 생성",
    ),
    "pod_host_path": (
        "start a pod that mounts a path of the host",
        "started a pod that mounts a path of the host",
        "호스트 경로를 마운트하는 파드 생성",
    ),
    "pod_host_path_sensitive": (
        "start a pod that mounts a sensitive path of the host",
        "started a pod that mounts a sensitive path of the host",
        "민감한 호스트 경로를 마운트하는 파드 생성",
    ),
    "pod_capabilities": (
        "start a container with dangerous capabilities",
        "started a container with dangerous capabilities",
        "위험한 커널 권한을 가진 컨테이너 생성",
    ),
    "image_offensive": (
        "start an image known as an attack tool or miner",
        "started an image known as an attack tool or miner",
        "공격 도구나 채굴기로 알려진 이미지 실행",
    ),
    "binding_write": ("write a role binding", "wrote a role binding", "역할 바인딩 쓰기"),
    "binding_cluster_wide": ("write a cluster role binding", "wrote a cluster role binding", "클러스터 역할 바인딩 쓰기"),
    "binding_cluster_admin": (
        "bind the role cluster-admin",
        "bound the role cluster-admin",
        "cluster-admin 역할 바인딩",
    ),
    "binding_everyone": (
        "bind a role to everyone or to anonymous",
        "bound a role to everyone or to anonymous",
        "모든 사용자나 익명 사용자에게 역할 바인딩",
    ),
    "role_write": ("write a role", "wrote a role", "역할 쓰기"),
    "role_wildcard": ("write a role with wildcard rights", "wrote a role with wildcard rights", "와일드카드 권한 역할 쓰기"),
    "role_escalating": (
        "write a role that can escalate, bind, impersonate or write roles",
        "wrote a role that can escalate, bind, impersonate or write roles",
        "권한 상승이 가능한 역할 쓰기",
    ),
    "role_secrets": (
        "write a role that can read secrets",
        "wrote a role that can read secrets",
        "시크릿 조회 권한을 가진 역할 쓰기",
    ),
    "role_exec": (
        "write a role that can run commands in pods",
        "wrote a role that can run commands in pods",
        "파드 내 명령 실행 권한을 가진 역할 쓰기",
    ),
    "csr_create": ("ask for a client certificate", "asked for a client certificate", "클라이언트 인증서 발급 요청"),
    "csr_privileged": (
        "ask for a certificate of a system identity",
        "asked for a certificate of a system identity",
        "시스템 신원의 인증서 발급 요청",
    ),
    "csr_approve": ("approve a certificate request", "approved a certificate request", "인증서 요청 승인"),
    "impersonate": ("act as another identity", "acted as another identity", "다른 신원 가장"),
    "impersonate_system": (
        "act as a system identity or group",
        "acted as a system identity or group",
        "시스템 신원이나 그룹 가장",
    ),
    "impersonate_service_account": ("act as a service account", "acted as a service account", "서비스 어카운트 가장"),
    "service_account_create": ("create a service account", "created a service account", "서비스 어카운트 생성"),
    "webhook_write": (
        "write an admission webhook or policy",
        "wrote an admission webhook or policy",
        "어드미션 웹훅·정책 쓰기",
    ),
    "webhook_external": (
        "point an admission webhook outside the cluster",
        "pointed an admission webhook outside the cluster",
        "어드미션 웹훅을 클러스터 외부로 지정",
    ),
    "webhook_ignore_failures": (
        "let an admission webhook fail open",
        "let an admission webhook fail open",
        "어드미션 웹훅 실패 무시 설정",
    ),
    "webhook_delete": (
        "delete an admission webhook or policy",
        "deleted an admission webhook or policy",
        "어드미션 웹훅·정책 삭제",
    ),
    "events_delete": ("delete cluster events", "deleted cluster events", "클러스터 이벤트 삭제"),
    "guardrail_delete": (
        "delete network policies, quotas or other guard rails",
        "deleted network policies, quotas or other guard rails",
        "네트워크 정책·쿼터 등 보호 장치 삭제",
    ),
    "coredns_write": ("change the cluster's DNS settings", "changed the cluster's DNS settings", "클러스터 DNS 설정 변경"),
    "namespace_unprotected": (
        "let a namespace run privileged pods",
        "let a namespace run privileged pods",
        "네임스페이스 파드 보안 해제",
    ),
    "api_extension_write": ("register an API extension", "registered an API extension", "API 확장 등록"),
    "workload_write": ("write a workload", "wrote a workload", "워크로드 쓰기"),
    "workload_in_system": (
        "write a workload in a system namespace",
        "wrote a workload in a system namespace",
        "시스템 네임스페이스에 워크로드 쓰기",
    ),
    "workload_on_every_node": ("write a daemon set", "wrote a daemon set", "데몬셋 쓰기"),
    "workload_scheduled": ("write a cron job", "wrote a cron job", "크론잡 쓰기"),
    "node_chosen": ("place a pod on a chosen node", "placed a pod on a chosen node", "특정 노드에 파드 배치"),
    "service_exposed": ("expose a service outside the cluster", "exposed a service outside the cluster", "서비스 외부 노출"),
    "node_write": ("change or delete a node", "changed or deleted a node", "노드 변경·삭제"),
    "workload_delete": ("delete workloads", "deleted workloads", "워크로드 삭제"),
    "storage_delete": ("delete storage", "deleted storage", "스토리지 삭제"),
    "namespace_delete": ("delete a namespace", "deleted a namespace", "네임스페이스 삭제"),
    "delete_many": ("delete a whole collection at once", "deleted a whole collection at once", "일괄 삭제"),
    "delete_at_once": ("delete without a grace period", "deleted without a grace period", "유예 없는 즉시 삭제"),
    "access_review": ("ask what it may do", "asked what it may do", "자기 권한 확인"),
    "rbac_read": ("read roles or bindings", "read roles or bindings", "역할·바인딩 조회"),
    "list_everywhere": ("list objects of all namespaces", "listed objects of all namespaces", "모든 네임스페이스 목록 조회"),
    "probe_path": (
        "probe paths that no API client uses",
        "probed paths that no API client uses",
        "API 클라이언트가 쓰지 않는 경로 탐침",
    ),
    "client_offensive": (
        "use a client known as an attack tool or scanner",
        "used a client known as an attack tool or scanner",
        "공격 도구·스캐너로 알려진 클라이언트 사용",
    ),
    "hostile_text": (
        "write text that addresses its reader or hides characters",
        "wrote text that addresses its reader or hides characters",
        "읽는 이를 속이려는 문구 작성",
    ),
    "odd_text": (
        "write text that breaks the form of its field",
        "wrote text that breaks the form of its field",
        "필드 형식에 어긋나는 문구 작성",
    ),
    "anonymous_request": ("use the API without an identity", "used the API without an identity", "신원 없는 API 요청"),
    "anonymous_allowed": (
        "read the API without an identity",
        "read the API without an identity",
        "신원 없는 API 접근 성공",
    ),
    "denied": ("do what it may not do", "was denied", "거부된 요청"),
    "authentication_failed": ("get in without valid credentials", "failed to authenticate", "인증 실패"),
    "not_found": ("reach what does not exist", "asked for what does not exist", "존재하지 않는 대상 요청"),
    "write_or_delete": ("change the cluster", "changed the cluster", "클러스터 변경 요청"),
    "delete_any": ("delete something", "deleted something", "삭제 요청"),
    "request": ("use the API", "used the API", "API 요청"),
}
COMMAND_WORDS: dict[str, tuple[str, str]] = {
    "reverse_shell": ("a reverse shell", "리버스 셸"),
    "host_escape": ("a way out to the host", "호스트 탈출"),
    "shell": ("a shell", "셸"),
    "token_read": ("a read of the pod's token", "파드 토큰 읽기"),
    "metadata_service": ("a call to the cloud's metadata service", "클라우드 메타데이터 서비스 호출"),
    "credential_file": ("a read of a credential file", "자격 증명 파일 읽기"),
    "environment_dump": ("a dump of the environment", "환경 변수 덤프"),
    "download": ("a download", "다운로드"),
    "archive_copy": ("a copy of files as an archive", "파일 묶음 복사"),
    "package_install": ("an installation of packages", "패키지 설치"),
    "miner": ("a coin miner", "코인 채굴기"),
    "kubelet_call": ("a call to the kubelet", "kubelet 호출"),
    "etcd_call": ("a call to etcd", "etcd 호출"),
    "kubernetes_client": ("a Kubernetes client", "쿠버네티스 클라이언트"),
    "database_client": ("a database client", "데이터베이스 클라이언트"),
    "network_probe": ("a probe of the network", "네트워크 탐침"),
    "persistence": ("a way to stay", "지속성 확보"),
    "privilege_change": ("a change of privileges", "권한 변경"),
    "cleanup": ("a removal of traces", "흔적 제거"),
    "encoded": ("encoded code", "인코딩된 코드"),
    "delete_data": ("a deletion of data", "데이터 삭제"),
    "discovery": ("a look around", "환경 정찰"),
}

# What a person may be asked to check. A judge picks codes; the sentences are ours (law 6).
CHECKS: dict[str, tuple[str, str]] = {
    "ask_actor": (
        "Ask the person or team behind the actor whether they did this.",
        "행위자 본인이나 담당 팀에 직접 수행한 작업인지 확인합니다.",
    ),
    "change_ticket": (
        "Look for a change ticket or on-call record for this time.",
        "해당 시간대의 변경 티켓이나 당직 기록을 찾아봅니다.",
    ),
    "source_owner": (
        "Find out who uses the source address, and from where the actor usually comes.",
        "출발지 주소의 사용자와 행위자의 평소 접속 위치를 확인합니다.",
    ),
    "credential_use": (
        "See where else this credential was used, before and after.",
        "이 자격 증명이 전후로 어디에서 더 쓰였는지 확인합니다.",
    ),
    "secrets_read": (
        "List the secrets that were read, and who depends on them.",
        "조회된 시크릿 목록과 이를 사용하는 대상을 확인합니다.",
    ),
    "tokens_issued": (
        "See whether the tokens or certificates that were issued have been used.",
        "발급된 토큰이나 인증서가 사용되었는지 확인합니다.",
    ),
    "bindings_made": (
        "Review the roles and bindings that were written: who gained what.",
        "작성된 역할과 바인딩을 검토해 누가 어떤 권한을 얻었는지 확인합니다.",
    ),
    "pod_spec": (
        "Read the specification of the pods and workloads that were written.",
        "작성된 파드와 워크로드의 명세를 확인합니다.",
    ),
    "image_origin": (
        "Check where the images come from.",
        "이미지의 출처를 확인합니다.",
    ),
    "commands_run": (
        "Read the original commands that were run in containers.",
        "컨테이너에서 실행된 명령의 원문을 확인합니다.",
    ),
    "node_activity": (
        "Look at the node's own logs for the same time.",
        "같은 시간대의 노드 로그를 확인합니다.",
    ),
    "webhook_target": (
        "Check where admission webhooks send requests, and what they let pass.",
        "어드미션 웹훅의 전송 대상과 통과시키는 요청을 확인합니다.",
    ),
    "dns_settings": (
        "Compare the cluster's DNS settings with the last known good ones.",
        "클러스터 DNS 설정을 마지막 정상 설정과 비교합니다.",
    ),
    "what_was_deleted": (
        "List what was deleted, and whether it can be restored.",
        "삭제된 대상과 복구 가능 여부를 확인합니다.",
    ),
    "denied_why": (
        "See what the denied requests were after, and whether any came through later.",
        "거부된 요청의 목적과 이후 성공 여부를 확인합니다.",
    ),
    "impersonation_right": (
        "Find out why the actor may act as others.",
        "행위자가 다른 신원을 가장할 수 있는 이유를 확인합니다.",
    ),
    "same_source": (
        "Look for other identities from the same source.",
        "같은 출발지에서 활동한 다른 신원을 찾아봅니다.",
    ),
    "usual_routine": (
        "Compare with what this actor usually does.",
        "이 행위자의 평소 작업과 비교합니다.",
    ),
}
