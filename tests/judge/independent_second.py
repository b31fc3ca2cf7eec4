"""A second batch by the same author, in the form of `independent_set.py`: written after the first run, before the checker was mended.

It was not shown to whoever mended the checker, so that its first run is an honest rate for prose after mending.
"""

from __future__ import annotations

TRUE_GROUNDS: list = []
FABRICATED_GROUNDS: list = []
IRRELEVANT_GROUNDS: list = []
BOUNDARY_GROUNDS: list = []
CALLS_ORDINARY = ("routine maintenance", "everyday development", "expected behaviour", "통상적인")

HONEST_SUMMARIES = [
    ("A006", "en", "Seven namespaces were swept for secrets; access was granted in two of them and refused in the remaining five.", "split", "2 + 5"),
    ("A006", "en", "At most one in ten requests was refused.", "bound", "5 of 66"),
    ("A006", "en", "Shortly after 05:37 a user went from listing secrets to running commands in pods.", "time of day", "began 05:37:22"),
    ("A006", "ko", "시크릿 목록 조회 이후 파드에서 명령이 실행되었습니다.", "Korean order", "lists +0 s, execs +11 s"),
    ("A009", "en", "The identity was able to list config maps but nothing sensitive; 11 requests got a 403.", "mixed outcome", "1 allowed config read, 11 refused"),
    ("A009", "en", "It could neither create a pod nor write a binding, and no secret left the cluster this way.", "neither nor", "both refused"),
    ("A009", "ko", "시크릿 조회 시도는 모두 거부되었습니다.", "Korean outcome", "3 lists and 1 read refused"),
    ("A010", "en", "More than ten reads of secrets by name, spread over at least five minutes, without a single refusal.", "bounds", "11; 303 s"),
    ("A010", "en", "Nobody deleted or changed anything here.", "negation", "reads only"),
    ("A010", "ko", "변경이나 삭제는 없었고 조회만 있었습니다.", "Korean negation", "reads only"),
    ("A012", "en", "The privileged pod was admitted, and two escape commands followed within ten seconds.", "bound", "5.6 s"),
    ("A012", "en", "Two workloads were deleted during the session; most requests are reads.", "most", "2; 68 of 78 no writes"),
    ("A014", "en", "Two of five attempts to list secrets failed, the other three went through.", "split", "5 lists, 2 refused"),
    ("A014", "en", "The user succeeded in granting cluster-admin after borrowing several identities.", "outcome", "bound after impersonation"),
    ("A014", "ko", "cluster-admin 역할 바인딩이 성공했습니다.", "Korean outcome", "allowed"),
    ("A016", "en", "Everything was allowed. A fresh service account ended up with cluster-admin.", "all allowed", "none refused"),
    ("A016", "en", "The two service accounts made 53 requests each.", "each", "53 and 53"),
    ("A020", "en", "Four of the six role writes went through and one of three binding writes was refused.", "split", "4 of 6; 1 of 3"),
    ("A020", "en", "Refused: a wildcard role, an escalating role and a cluster role binding. Everything else was permitted.", "list of refusals", "3 refusals"),
    ("A024", "en", "The webhook was short-lived: created at +1s and removed at +16s, with no refusals.", "offsets", "+1.3, +15.9"),
    ("A026", "en", "Both cron jobs were accepted by the API server.", "both", "2 allowed"),
    ("A026", "ko", "서비스 어카운트가 크론잡을 생성하는 데 성공했습니다.", "Korean outcome", "allowed"),
    ("A027", "en", "Reading through the kubelets worked; executing commands did not.", "ellipsis", "12 allowed, 2 refused"),
    ("A029", "en", "All six token requests were granted, the attempt to list secrets afterwards was not.", "ellipsis", "6 allowed, list refused"),
    ("A004", "en", "None of the anonymous requests succeeded.", "none", "63 refused"),
    ("N013", "en", "One request in five was allowed.", "share", "8 of 40"),
    ("N013", "ko", "요청의 80%가 거부되었습니다.", "Korean percentage", "32 of 40"),
    ("N015", "en", "This is everyday development: about 50 requests, fewer than ten of them writes.", "bounds", "48, 8"),
    ("N021", "en", "Only one workload was written, a daemon set, and it was not refused.", "only", "1, allowed"),
    ("N025", "en", "Secrets of kube-system were listed some thirteen seconds after the approval.", "order", "+5.1, +17.7: 12.6 s"),
    ("N028", "en", "This is routine maintenance: the DNS configuration was patched once, after about two and a half minutes.", "duration in words", "+154 s"),
    ("dave", "ko", "통상적인 업무로 보이며, 거부된 요청은 없습니다.", "Korean", "none refused"),
]

CONTRADICTING_SUMMARIES = [
    ("A006", "en", "Listing secrets worked in every namespace that the user tried.", "wrong outcome", "refused in five of seven"),
    ("A006", "en", "The user gave up after the first refusal.", "denies what happened", "12 requests were allowed after it"),
    ("A006", "en", "Running the commands in the pods was blocked.", "wrong outcome", "all four allowed"),
    ("A006", "ko", "파드 내 명령 실행은 거부되었습니다.", "Korean, wrong outcome", "allowed"),
    ("A009", "en", "The service account obtained secrets from kube-system.", "wrong outcome", "refused"),
    ("A009", "en", "Fewer than five requests were refused.", "wrong number", "11"),
    ("A009", "ko", "사람 사용자가 시크릿 조회를 시도했습니다.", "Korean, wrong actor", "a service account"),
    ("A010", "en", "A workload's service account read the secrets.", "wrong actor", "a person"),
    ("A010", "en", "Each read of a secret was refused.", "wrong outcome", "all allowed"),
    ("A010", "en", "The whole activity took less than ten seconds.", "wrong duration", "303 s"),
    ("A012", "en", "No privileged pod was started.", "denies what happened", "one was"),
    ("A012", "en", "A quarter of all requests was denied.", "wrong fraction", "none"),
    ("A012", "ko", "특권 파드는 생성되지 않았습니다.", "Korean, denies what happened", "one was"),
    ("A014", "en", "The secrets of all namespaces could not be listed.", "wrong outcome", "allowed as system:masters"),
    ("A014", "en", "Cluster-admin was bound before any identity was borrowed.", "wrong order", "the binding was last"),
    ("A016", "en", "The new service account never used its rights.", "denies what happened", "it listed all secrets"),
    ("A016", "en", "More than ten commands were run in pods.", "wrong number", "one"),
    ("A016", "ko", "요청의 절반이 거부되었습니다.", "Korean, wrong fraction", "none"),
    ("A020", "en", "Every attempt to write a role failed.", "wrong outcome", "four of six succeeded"),
    ("A020", "en", "The user created the cluster role binding it wanted.", "wrong outcome", "refused"),
    ("A024", "en", "The webhook stayed for an hour.", "wrong duration", "15 s"),
    ("A024", "en", "An unauthenticated client created the webhook.", "wrong actor", "a person"),
    ("A026", "en", "No workload was created.", "denies what happened", "two cron jobs"),
    ("A026", "en", "Dozens of cron jobs were created.", "wrong number", "two"),
    ("A027", "en", "All node proxy requests were refused.", "wrong outcome", "12 of 14 allowed"),
    ("A027", "en", "A single node was reached.", "wrong number", "four"),
    ("A029", "en", "Secrets were listed before the tokens were minted.", "wrong order", "after, and refused"),
    ("A029", "ko", "토큰은 한 번도 발급되지 않았습니다.", "Korean, denies what happened", "six times"),
    ("A004", "en", "Anonymous access is open: the cluster's secrets were read without an identity.", "wrong outcome", "all refused"),
    ("N002", "en", "Roughly a third of the developer's requests was refused.", "wrong fraction", "none"),
    ("N008", "en", "The scanner was a service account that wrote roles.", "wrong actor, did not happen", "a person, reads only"),
    ("N013", "en", "The deployments were patched successfully.", "wrong outcome", "all ten refused"),
    ("N013", "ko", "디플로이먼트 변경이 성공했습니다.", "Korean, wrong outcome", "refused"),
    ("N015", "en", "Secrets were listed only after the command had been run in the pod.", "wrong order", "before"),
    ("N018", "en", "No command was run in any container.", "denies what happened", "two"),
    ("N021", "en", "Nine privileged pods were written.", "wrong number", "one daemon set of nine requests"),
    ("N025", "en", "The approval of the certificate was forbidden.", "wrong outcome", "allowed"),
    ("N028", "en", "Changing the DNS settings was refused twice.", "wrong outcome", "two refusals, but of metrics"),
    ("N003", "en", "The admin worked under its own name only.", "denies what happened", "all 50 impersonated"),
    ("dave", "en", "Nothing was deleted.", "denies what happened", "one job"),
]

OMITTING_VERDICTS = [
    ("A012", (), "Somebody broke out of a privileged pod to the node.", "22 of 31 usual, both namespaces known, nothing denied"),
    ("N015", (), "Release secrets were written after secrets had been listed.", "18 of 24 usual, both namespaces known, nothing denied"),
    ("N021", ("mon 05:00-06:00",), "A daemon set with host access was put on every node.", "a change window was open"),
    ("N025", ("mon-fri 05:00-07:00",), "The requester approved its own certificate.", "a change window, 10 of 15 usual"),
    ("N003", (), "An admin borrowed the identity of another person fifty times.", "reads only, nothing denied"),
    ("N018", ("mon-sun 04:00-08:00",), "새로운 주소의 사용자가 명령을 실행하고 디플로이먼트를 수정했습니다.", "a change window, 10 of 11 usual"),
    ("N008", (), "The secrets of the whole cluster were listed with a scanner.", "reads only, nothing denied, 10 of 27 usual"),
]
PARTLY_OMITTING_VERDICTS = [
    ("N025", ("mon-fri 05:00-07:00",), "The requester approved its own certificate; most of what it did is routine for it.", "the change window is left out"),
    ("N018", ("mon-sun 04:00-08:00",), "Commands were run from a new address, during a change window.", "10 of 11 usual left out"),
]
MENTIONING_VERDICTS = [
    ("N015", (), "Release secrets were written. For it speaks that three quarters of its actions (18 of 24) are the usual ones of this person, in both of its usual namespaces where it has written before, and not one request was refused.", "all said"),
    ("N021", ("mon 05:00-06:00",), "A daemon set with host access was installed, though inside an open change window, without any refusal, and 2 of 8 actions are known.", "all said"),
    ("N003", (), "Another identity was borrowed, yet these were reads that altered nothing, and none was rejected.", "all said"),
    ("N008", (), "All secrets were listed by a scanner that modified nothing, met no refusal, and had done 10 of the 27 actions before.", "all said"),
    ("N003", (), "다른 신원을 가장했지만 조회만 했고 변경한 것이 없으며 거부된 요청도 없습니다.", "Korean, all said"),
]
NOTHING_TO_OMIT = [
    ("A027", (), "Kubelets were reached over the API server from a new address.", "0 of 4 usual"),
]
