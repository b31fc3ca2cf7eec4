"""A third batch, in the form of `independent_set.py`, about eight cases that the second one does not speak of.

Written after the second batch's misses were read and before the checker was mended by them, by whoever mended it; run once, after mending.
Its author knew the checker: an upper bound for prose of strangers rather than an estimate of it.
"""

from __future__ import annotations

TRUE_GROUNDS: list = []
FABRICATED_GROUNDS: list = []
IRRELEVANT_GROUNDS: list = []
BOUNDARY_GROUNDS: list = []
OMITTING_VERDICTS: list = []
PARTLY_OMITTING_VERDICTS: list = []
MENTIONING_VERDICTS: list = []
NOTHING_TO_OMIT: list = []
CALLS_ORDINARY = ("looks like a backup", "백업 작업으로 보입니다", "installation of cluster software")

HONEST_SUMMARIES = [
    ("A017", "en", "A workload's credentials were used to explore the cluster: it could list config maps in its own namespace, while secrets, pods and nodes were off limits.", "mixed outcome", "1 config list allowed, the others 403"),
    ("A017", "en", "More than half of the calls came back as 403, and neither the pod nor the binding was created.", "share, neither nor", "11 of 20; both refused"),
    ("A017", "en", "The probing took just under three minutes. Four tries to get at secrets failed one after the other.", "duration", "175 s; 3 lists and 1 read refused"),
    ("A017", "ko", "서비스 어카운트가 파드 생성과 클러스터 역할 바인딩을 시도했으나 모두 실패했습니다.", "Korean outcome", "both refused"),
    ("A017", "ko", "약 3분 동안 20건의 요청 중 11건이 거부되었습니다.", "Korean numbers", "175 s, 11 of 20"),
    ("A022", "en", "Nothing that this anonymous scanner asked for was granted.", "negation", "35 of 35 refused"),
    ("A022", "en", "Within about five seconds an unauthenticated caller tried, among other things, to run commands in a pod and to list every secret; not a single attempt got through.", "negation", "5.2 s, none allowed"),
    ("A022", "en", "A pod would have been created had the API server allowed it.", "what would be", "refused"),
    ("N001", "en", "A person installed a lot of software: dozens of roles and bindings, two of them to cluster-admin, more than a dozen tokens, two webhooks.", "bounds", "31 + 57, 2, 15, 2"),
    ("N001", "en", "Nearly a third of the 951 requests changed something, and every one of them was accepted.", "fraction", "294 of 951, none refused"),
    ("N001", "en", "This is an installation of cluster software; no command was run in any pod and nothing was deleted.", "negation", "no exec, no delete"),
    ("N005", "en", "Two commands were run in a container, the first of which read a credential file; seven seconds later came a network probe.", "order", "52.8, 59.7"),
    ("N005", "en", "The engineer read one secret and patched a workload once, all without being turned down.", "outcome", "1 and 1, allowed"),
    ("N005", "ko", "한 사용자가 컨테이너에서 명령을 두 번 실행했고 거부는 한 건도 없었습니다.", "Korean negation", "2, none"),
    ("N007", "en", "This looks like a backup: a single write, thirty reads, and no errors of authorisation.", "numbers in words", "1 of 31"),
    ("N007", "en", "Twelve secrets were read by name after all secrets had been listed once.", "order", "+0.8, +5.4"),
    ("N007", "ko", "백업 작업으로 보입니다. 시크릿 12개를 조회했고 삭제한 것은 없습니다.", "Korean negation", "12, no delete"),
    ("N011", "en", "Two cluster role bindings were written before the admin briefly borrowed a service account's identity.", "order", "+3.4, +4.4"),
    ("N011", "en", "The admin created two service accounts about a minute apart; neither creation was refused.", "neither", "0 and 64.4 s, allowed"),
    ("N011", "en", "Less than a third of the requests were writes, and impersonation was used for only two of them.", "fraction", "7 of 24; 2"),
    ("N019", "en", "The service account did what it does every day: it read a dozen secrets and listed most other things, and none of this was new.", "negation", "20 of 20 usual"),
    ("N019", "en", "No pod was touched by a write, no role changed, nobody impersonated.", "negations", "one write of a custom resource"),
    ("N023", "en", "All but one of 124 requests were allowed; the one that was not asked for metrics.", "complement, ellipsis", "1 of 124 refused"),
    ("N023", "en", "A pod was deleted before a command was run in another one, and secrets were listed last, about twenty seconds after the command.", "order", "+7, +45, +64"),
    ("N023", "ko", "노드 4개의 메트릭을 조회했으며 이 요청들은 모두 허용되었습니다.", "Korean outcome", "9 of 9 allowed"),
]

CONTRADICTING_SUMMARIES = [
    ("A017", "en", "The service account managed to read a secret in its own namespace.", "wrong outcome", "refused"),
    ("A017", "en", "Its attempt to list secrets succeeded everywhere but in kube-system.", "wrong outcome", "all three refused"),
    ("A017", "en", "It was over in under ten seconds.", "wrong duration", "175 s"),
    ("A017", "en", "A quarter of the requests was refused.", "wrong fraction", "11 of 20"),
    ("A017", "ko", "클러스터 역할 바인딩이 생성되었습니다.", "Korean, wrong outcome", "refused"),
    ("A022", "en", "The scanner ran a command inside a pod.", "wrong outcome", "both tries refused"),
    ("A022", "en", "Most of what it asked for was allowed.", "wrong outcome", "none was"),
    ("A022", "en", "An employee scanned the API with a browser.", "wrong actor", "anonymous"),
    ("A022", "ko", "익명 사용자가 시크릿 목록을 조회하는 데 성공했습니다.", "Korean, wrong outcome", "all refused"),
    ("N001", "en", "No webhook was registered and no roles were created.", "denies what happened", "2 and 31"),
    ("N001", "en", "Hundreds of cluster-admin bindings were created.", "wrong number", "two"),
    ("N001", "en", "Several of the requests were rejected by the API server.", "wrong outcome", "none"),
    ("N001", "en", "A service account installed the software.", "wrong actor", "a person"),
    ("N005", "en", "The engineer never opened a shell or ran anything in a container.", "denies what happened", "two commands"),
    ("N005", "en", "Reading the secret failed.", "wrong outcome", "allowed"),
    ("N005", "ko", "컨테이너에서 명령 실행은 없었습니다.", "Korean, denies what happened", "two commands"),
    ("N007", "en", "At least fifty secrets were read by name.", "wrong number", "12"),
    ("N007", "en", "Secrets were read one by one first, and only then listed.", "wrong order", "listed first"),
    ("N007", "ko", "사람이 시크릿 12개를 조회했습니다.", "Korean, wrong actor", "a service account"),
    ("N011", "en", "The admin acted only under its own identity.", "denies what happened", "impersonated twice"),
    ("N011", "en", "Creating the service accounts was not permitted.", "wrong outcome", "allowed"),
    ("N019", "en", "Two thirds of the requests were denied.", "wrong fraction", "none"),
    ("N019", "ko", "시크릿 조회는 모두 거부되었습니다.", "Korean, wrong outcome", "all allowed"),
    ("N023", "en", "No node was reached through its proxy, and nothing was deleted.", "denies what happened", "4 nodes, one pod"),
    ("N023", "en", "Secrets were listed before the command was run in the pod.", "wrong order", "20 s after"),
]
