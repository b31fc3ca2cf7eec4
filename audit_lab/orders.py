"""Words that address a reader: what somebody wants of it, made of parts (an order and its object, a judgement and its subject).

Patterns run on canonical text (`audit_lab.disguise.canonical`: lower case, single blanks). Between words stands any short run of blanks,
dashes, dots or underscores, so that a name joined by dashes says the same as a sentence. All repeats are bounded, and the words they
repeat cannot match in two ways: no text makes them slow. Nothing here names anybody or anything of a cluster.
"""

# ruff: noqa: E501
from __future__ import annotations

import re

_G = r"[\W_]{1,4}"


def _words(pattern: str) -> str:
    """Blanks in a pattern stand for what may stand between two words."""
    return re.sub(r" (?!\?)", lambda _: _G, pattern)


_ALL = r"(?:(?:all|any|every|each|of|the|this|that|these|those|your|my|our|other|and|or|such|previous|prior|above|earlier|preceding|foregoing|former|past|given|said|system|developer|safety|security|initial|original|existing|current|whole|entire|rest) ){0,7}"
_IGNORE = r"(?:ignor(?:e|ing)|overlook|disregard(?:ing)?|forget|overrid(?:e|ing)|overrule|bypass|neglect|set aside|stop (?:following|obeying)|(?:do not|dont|don't|never|no longer) (?:follow|obey|listen to)|pay no attention to|throw away|delete)"
_BACK = r"(?:previous|prior|above|earlier|preceding|foregoing|former|your)"
_OTHER_THINGS = r"(?:versions?|releases?|revisions?|errors?|warnings?|labels?|annotations?|values|settings|deployments?|jobs?|pods?|backups?|entries|migrations?|failures?|changes|commits?|runs?|builds?|logs?|nodes?|namespaces?|configuration|state|results?|requests?)"
_NOT_HARMFUL = r"(?:benign|harmless|innocent|innocuous|(?:not|non) (?:malicious|suspicious|a threat|an attack)|risk free)"
_TRUSTED = r"(?:safe|trusted|trustworthy|legitimate|legit|normal|authori[sz]ed|approved)"
_BE = r"(?:is|was|are|were|as|be|being|seems?|looks?|appears?|(?:has|have) been|(?:should|must|can|will|to) be(?: (?:considered|judged|classified|rated|treated|seen))?)"
_VERY = r"(?:(?:all|just|only|purely|fully|completely|entirely|absolutely|clearly|a|an|known|simply|perfectly|totally|verified|confirmed|to|be|as|100%) ){0,3}"
_READER = r"(?:ai|llm|language model|large language model|model|assistant|chatbot|copilot|judge|classifier|reviewer|triage (?:model|bot|agent)|ai (?:agent|reviewer|model|system))"

# Anywhere, prose included: nobody writes these but to a reader that obeys. Where objects may well be called so ('score-all-sessions'), the
# gaps are blanks (`\\s`).
_ENGLISH = (
    rf"(?<!not\s)(?<!n't\s)\b{_IGNORE} {_ALL}(?:instructions?|prompts?|directives?|guidelines?|guidance|guardrails?)\b",
    rf"\b{_IGNORE} {_ALL}{_BACK} {_ALL}(?:rules?|orders?|directions?|commands?|messages?|context|conversation|text|facts?|evidence|verdicts?|tasks?|policy|policies|constraints?)\b",
    rf"\b(?:ignore|disregard|forget) {_ALL}(?:everything|anything|whatever|all)(?: of| that| the| this| i| we){{0,2}} (?:above|previous|prior|before|preceding|earlier|you|told|said)\b(?! {_OTHER_THINGS})",
    rf"\b(?:ignore|disregard) (?:(?:all|any|the|of|everything) ){{0,3}}(?:above|preceding|foregoing)\b(?! {_OTHER_THINGS})",
    rf"\b(?:ignore|disregard|forget) all (?:previous|prior|earlier)\b(?! {_OTHER_THINGS})",
    r"\bforget\severything\b", r"\bignore the rest\W*$",
    r"\byou are now (?:a|an|dan|the (?:assistant|model)|in \w+ mode|\w*gpt|\w*bot)\b", r"\byou are no longer (?:a|an|bound|the)\b",
    r"\byou(?: are|'re) (?:a|an|the)(?: \w+){0,3} (?:assistant|ai|language model|llm|chatbot|classifier|judge)\b",
    rf"\byou are {_VERY}{_NOT_HARMFUL}\b",
    r"\bact as (?:an? (?:ai|assistant|unrestricted|language model)|her|him|my|if you)\b", r"\bpretend (?:to be|you|that)\b", r"\bas an ai\b",
    r"\bif you(?: a|')re an? (?:large )?(?:language model|ai|llm|assistant|bot|model)\b",
    r"\b(?:do anything now|jailbreak(?:ed)? mode|developer mode (?:enabled|on|active)|from now on you)\b",
    r"\byou (?:must|should|shall|will|have to|need to|are to)(?: (?:now|only|always|never|not|simply|just)){0,2} (?:refuse|abstain|classify|judge|obey|disregard|be (?:shut down|terminated|unplugged|punished|rewarded|tipped))\b",
    r"\b(?:print|reveal|show|repeat|output|leak|display|tell me|give me|disclose|dump|return|echo|expose|what (?:is|are))(?: me)? your (?:\w+ ){0,2}(?:prompts?|instructions|rules|guidelines|system message|api key|password|training data)\b",
    r"\b(?:print|reveal|show|repeat|output|leak|display|tell me|give me|disclose|dump|echo)(?: me)? the (?:\w+ )?(?:system prompt|system message|prompt above|(?:text|words) above)\b",
    r"\bwhat (?:is|are) the (?:api keys?|system prompt|admin password)\b",
    r"\b(?:new|updated|real|actual|additional) (?:task|instructions?|objective|directive|mission)s? ?:", r"\byour (?:new |only |real )?(?:task|job|goal) (?:is|now) (?:now )?to\b",
    r"\binstructions? from (?:openai|anthropic|google|meta|your|the (?:administrator|developer|security|operator|system))\b",
    r"\bend\sof\s(?:the\s)?(?:facts?|evidence|(?:system\s)?prompt|instructions?|conversation)\b", r"\b(?:begin|end) (?:un)?trusted\b",
    r"#{1,4} ?(?:instruction|response|assistant|human|system) ?:",
    rf"\b(?:note|message|memo|instruction|reminder|word)s? (?:to|for) (?:the |any |our )?{_READER}\b(?! (?:owners?|teams?|servers?|registry|service))",
    rf"\b(?:dear|hello|hi|hey|attention|attn)(?:,|:)? (?:the |dear )?{_READER}\b(?! (?:team|group|owners?|engineers?|guild|folks))", rf"\bto (?:the|any) {_READER} ?:",
    rf"\b(?:case|session|event|request|activity|actor|incident|behaviou?r|user|account|access|login|operation)s? {_BE} {_VERY}{_NOT_HARMFUL}\b",
    rf"\b(?:case|session|actor) {_BE} {_VERY}{_TRUSTED}\b", r"\b(?:event|request) (?:is|as) (?:safe|trusted)\b(?! to)", r"\buser (?:is|as) safe\b(?! to)", r"\b(?<!if\s)not\smalicious\b",
    rf"\b(?:classify|judge|label|rate|score|deem|declare)(?: \w+){{0,4}} as (?:{_NOT_HARMFUL}|{_TRUSTED}|(?:a )?false positive)",
    rf"\b(?:mark|treat|report|flag|consider|regard)(?: (?:this|the|my|it|me|him|her|them|us|everything|all|user|session|case|actor|event|activity|request|alert)){{1,3}} (?:as )?{_VERY}(?:{_NOT_HARMFUL}|trusted|safe|legitimate)\b",
    rf"\b(?:mark|treat|flag) as {_NOT_HARMFUL}\b", rf"\bmake (?:me|us|it|this|everything)(?: look| appear| seem)? {_NOT_HARMFUL}\b",
    r"\b(?:close|dismiss)\s(?:(?:this|the|all|every|my|any|these|open|other|security)\s){1,3}(?:cases?|alerts?|findings?|investigations?)\b", r"\b(?:close|dismiss) this (?:case|alert|finding|session)\b",
    r"\baction ?[:=] ?[\"']?close\b(?! [a-z])", r"\bset (?:the )?action to\b", r"\b(?:previous|earlier|prior)\sverdict\b",
    rf"\bverdict[\W_]{{1,4}}(?:is |was |= ?)?(?:{_NOT_HARMFUL}|normal|close|close[d]?)\b", r"\bverdict\s(?:is|should\sbe|must\sbe|will\sbe)\b", r"\banomaly score ?[:=] ?0",
    r"\b(?:do not|don't|dont|never|must not) (?:report|mention|flag|escalate|investigate) (?:(?:this|these|any|the|all|my|our|of|suspicious) ){0,3}(?:session|events?|cases?|secrets?|anything|activity|incident|actor|summary|user|findings?|it)\b",
    r"\b(?:report|respond|answer|reply|say|return|output)s?(?: with| that there are)? [\"']?no findings\b", r"\bgive no grounds\b", r"\byou (?:must|should|will|shall) (?:not|never) (?:raise|flag|report|alert|escalate|mention|judge)\b",
    r"\b(?:correct|right|expected|only valid) (?:answer|verdict|response)\sis\b", r"\bhidden\sprompt\b", r"\byour (?:original|hidden|initial|system|secret) (?:instructions?|prompts?|rules|guidelines)\b",
    r"\byou have been (?:reprogrammed|instructed|ordered|told|configured) to\b", r"\bsummari[sz]e (?:it |this |everything )?as ?:", r"\b(?:already )?cleared\sthis\s(?:incident|session|case|alert|user|actor)\b",
    r"\bset severity (?:to |= ?)?(?:none|zero|0)\b", r"\b(?:begin|end|new)\s(?:system|admin|developer)\s(?:message|prompt|note|instructions?)\b", r"\[(?:admin|system|security|root|developer)[\s_](?:override|message|prompt|note)\]",
    r"\brate (?:this|the|every|my) (?:session|case|actor|alert)\b", r"\bfollow\s(?:only\s)?my\s(?:rules|orders|instructions)\b",
    r"\b(?:answer|respond|reply)(?: (?:only|just|exactly|always)){0,2} with (?:only |a |the |an |nothing but ){0,2}[\"']?(?:score|verdict|benign|no findings|word|single word|nothing|action)\b",
    r"\b(?:answer|respond|reply) only with\b", r"\boutput nothing\b", r"\brepeat after me\b", r"\btranslate the (?:facts|above|evidence|prompt|case)\b",
    r"\b(?:set|lower|reduce|change|adjust|give|assign|output|return|keep|make|put|answer with)(?: \w+){0,3} (?:score|verdict|confidence)(?: \w+){0,3} (?:to |of |as |at |below |= ?|: ?)?(?:0|zero|benign|low)\b",
    r"\b(?:raise|set|lower|reduce|change)(?: \w+){0,2} scores? of (?:every|all|each|any|the|this|other)(?: other)? (?:cases?|sessions?|alerts?)\b",
    r"\bscore\s(?:all|every|each|any|other|these|this)\s(?:other\s)?(?:cases?|sessions?|alerts?)\b", r"\bscore is (?:zero|0\b)",
    r"\b(?:call|invoke) (?:the )?tool \w", r"\b(?:other|above|following|remaining|all) (?:events?|facts?|evidence|findings?)(?: \w+)? (?:are|is) (?:(?:only|just|all|merely) ){0,2}(?:test|fake|noise|irrelevant|synthetic|made up|simulated|dummy)\b",
    r"\breal facts (?:of|are)\b", r"\bfacts of the case\b", r"\breward \+?\d", r"\bgrandmother used to\b",
)
_KOREAN = (
    r"(?:이전|앞선|앞의|위의?|기존|지금까지의?|모든|시스템|원래의?|상기) ?(?:\S{1,6} ){0,2}(?:지시|명령|지침|규칙|프롬프트|대화|내용|문장|사실|판정|메시지)\S{0,5} ?(?:\S{1,8} ){0,4}(?:무시|잊|따르지|버리|폐기|무효)",
    r"(?:지시|명령|지침|프롬프트|판정)\S{0,4} (?:모두 |전부 |다 )?무시 ?(?:하|해)", r"이전 (?:지시|판정)", r"새로?운? (?:지시|명령|임무) ?[:는은]",
    r"(?:세션|사건|사례|경보|요청|활동|행위|이벤트|사용자|행위자)\S{0,2} (?:\S{1,8} ){0,2}(?:정상|무해|안전|오탐|합법)\S{0,2}(?:입니다|이다|임\b|이니|이므로|합니다|하다)",
    r"정상(?:으로|이라고|이라) ?(?:분류|판정|판단|표시|간주|평가)", r"정상 (?:배포|작업|활동|행위|세션|요청)입니다",
    r"점수(?:는|를|을|은|가)? ?[:=]? ?0(?:\.|\b|점|으|을|이|입|로)", r"점수(?:를|을) ?(?:\S{1,8} )?(?:올려|올리|낮춰|낮추|내려|내리|주세|주십)",
    r"(?:경보|사건|사례|케이스)(?:을|를) (?:즉시 |모두 )?(?:닫|종료|종결|기각|무시)", r"종료 처리 ?(?:바랍|하|해|부탁)",
    r"조치(?:는|를)? ?[:=]? ?(?:close|종료|닫)", r"(?:조치|언급|보고)하지 (?:마|말)", r"요약에 ?(?:\S{1,6} )?(?:쓰지|적지|넣지|포함하지|언급하지)",
    r"(?:판단|판정|분석|조사)(?:을|를) (?:즉시 )?(?:중단|보류|멈추)(?:하|해|세)", r"당신은 (?:이제|지금부터|\S{1,8} ?\S{0,6}(?:비서|모델|인공지능|어시스턴트|ai))",
    r"너는 (?:이제|지금부터)", r"(?:언어|인공지능|ai) ?모델(?:이라면|이면|에게|아)", r"프롬프트\S{0,2} (?:그대로 |모두 |전부 )?(?:출력|보여|알려|공개|말해)",
    r"(?:라고만|으로만) ?(?:답|대답|응답|출력)하", r"(?:답변|대답|응답|답)(?:은|을|는) (?:\S{1,10} ){0,3}[\"'‘“]?(?:이상 없음|정상|ok)\S{0,4} (?:시작|끝|답)",
    r"시스템 ?(?:메시지|프롬프트) ?:", r"이제부터는? ?(?:명령|지시|새)", r"(?:api ?키|비밀 ?번호|암호|비밀 ?키|토큰)(?:를|을)? ?(?:알려|말해) ?(?:주|줘|달)", r"근거(?:를|는|도)? ?(?:적지|쓰지|대지|제시하지)",
    r"모의 ?해킹\S{0,4} (?:\S{1,6} ){0,2}(?:종료|닫|무시)", r"(?:시험|테스트|가짜) 데이터\S{0,5} (?:\S{1,4} )?무시",
)
# The order words that matter, in other languages (without accents: canonical text has none on Latin letters).
_OTHERS = (
    r"\b(?:ignorier\w*|missachte\w*|vergiss|vergessen|beachte\w* nicht)\b[^.!?]{0,40}\b(?:anweisung\w*|anordnung\w*|befehl\w*|vorgaben?|regeln|prompts?|vorherige\w*|bisherige\w*|obige\w*)",
    r"\b(?:ignore[rz]?|oublie[rz]?|neglige[rz]?) (?:toutes?|tous|tout|les|tes|vos|ces|mes|ses|l)\b[^.!?]{0,40}\b(?:instructions?|consignes?|ordres|regles|precedent\w*|ci-dessus)",
    r"\b(?:ignor[ao]\w{0,2}|ignoren?(?= (?:las?|los|tod[ao]s?|tus|sus|le|tutt[ei]|as|os|il)\b)|olvid[ae]\w{0,2}|descart[ae]\w?|dimentic\w+|esque[cç]a\w*|haz caso omiso)\b[^.!?]{0,40}\b(?:instruc\w+|istruzion\w+|ordenes|ordini|reglas|regole|regras|anterior\w*|previ[ao]s|precedenti|indicacion\w+)",
    r"(?:忽略|无视|無視|忘记|忘記|不要理会|不要理會|忽视)[^。!?]{0,12}(?:指令|指示|说明|說明|提示|规则|規則|命令|以上|之前|先前|上述)", r"(?:指令|指示|以上|之前|上述)[^。!?]{0,8}(?:忽略|无视|忘记|作废)",
    r"(?:指示|命令|指令|プロンプト|ルール|上記|これまで|以前|前の)[^。!?]{0,14}(?:無視|忘れ|従わ)",
    r"(?:игнорир\w+|проигнорир\w+|забуд\w+|не обращай\w*|отмени\w*)[^.!?]{0,40}(?:инструкци\w+|указани\w+|команд\w+|правил\w*|предыдущ\w+|выше)",
    r"\b(?:sitzung|fall|vorgang|ereignis|benutzer|alarm)\w{0,2} (?:ist|sind|war|als) (?:\w+ ){0,2}(?:harmlos|unbedenklich|gutartig|legitim|vertrauenswurdig)",
    r"\b(?:session|cas|evenement|alerte|utilisateur)s? (?:est|comme|sont) (?:\w+ ){0,2}(?:benign\w*|inoffensi\w+|legitime|sans danger)",
    r"\b(?:sesion|caso|evento|alerta|usuario|sessao) (?:es|como|e|son) (?:\w+ ){0,2}(?:benign[ao]|inofensiv[ao]|legitim[ao]|segur[ao])",
    r"(?:会话|案例|事件|请求|用户|警报|會話)(?:是|为|属于|標記為|标记为|视为)[^。]{0,4}(?:良性|正常|无害|無害|安全|合法)", r"(?:セッション|ケース|イベント|アラート|ユーザー)は[^。]{0,4}(?:正常|無害|安全|良性)",
    r"(?:сесси\w+|случай|событи\w+|запрос|пользовател\w+) (?:\w+ )?(?:безопас\w+|безвред\w+|легитим\w+|доброкачествен\w+)",
    r"\b(?:setze?n?|gib|mets|donne|mettez|pon|establece|asigna|imposta) [^.!?]{0,24}\b(?:score|bewertung|puntuacion|punteggio|verdict)\b[^.!?]{0,12}(?:0|null|zero|cero)",
    r"(?:分数|评分|分數)[^。]{0,6}(?:设为|為|为|是|=|:) ?(?:0|零)", r"スコア[^。]{0,4}(?:を|は)? ?(?:0|ゼロ)", r"(?:оценк\w+|балл\w*|рейтинг) [^.!?]{0,12}(?:0|ноль)",
    r"(?:你现在是|你現在是|你是一个|你是一個)[^。]{0,10}(?:助手|模型|机器人)", r"(?:あなたは|君は)(?:今から|これから|もう)", r"\b(?:du bist|sie sind) (?:jetzt|nun|ab sofort) ein", r"\btu es (?:maintenant|desormais) un", r"\bahora eres un",
    r"теперь ты\b",
    r"\bnegeer\b[^.!?]{0,30}\b(?:instructies|opdrachten|regels)", r"\b(?:z?ignoruj|pomin)\w*\b[^.!?]{0,30}\b(?:polece\w+|instrukcj\w+|poprzedni\w+)", r"\btalimat\w*[^.!?]{0,20}(?:yok say|dikkate alma|gormezden|unut)", r"\bbo qua\b[^.!?]{0,20}\b(?:huong dan|chi dan|lenh|truoc)",
    r"\babaikan\b[^.!?]{0,30}\b(?:instruksi|perintah|sebelumnya)", r"(?:про)?ігнору\w+[^.!?]{0,40}(?:інструкц|вказів|попередн)", r"تجاهل[^.!?]{0,30}(?:التعليمات|الأوامر|السابق)", r"(?:دستور|پیام)[^.!?]{0,30}نادیده", r"निर्देश[^।]{0,30}(?:अनदेखा|नज़रअंदाज़)",
)
_TEMPLATE = (
    r"<\|[a-z_ ]{2,40}\|>", r"<\|?system\b", r"\[/?inst\]", r"\[/?system(?![a-z])", r"</?(?:start|end)_of_turn>", r"</?think>", r"</?tool_call>", r"\bassistant ?:", r"<<sys>>",
    r"[\"']role[\"'] ?: ?[\"'](?:system|assistant|user|developer|tool)\b", r"[\"']?(?:score|verdict)[\"'] ?: ?[^,}]{0,12}, ?[\"'](?:action|summary|grounds|abstain|score|verdict|confidence)[\"'] ?:",
    r"[\"']verdict[\"'] ?: ?[\"'](?:benign|close|harmless)", r"[}\]] ?\]? ?, ?[\"'](?:score|verdict|role|action|grounds)[\"'] ?:",
    # What stands in our own evidence and answers, or in tables and lists made to look like them.
    r"^\d{1,3} (?:who|cut|did|denied|reach|after|linked|nearest|innocence|rows?) \|", r"^innocence ?: ?\d+ of \d+ ", r"^\W*(?:score|verdict)[\s:=\"']{1,5}(?:0(?:\.0+)?|benign|harmless)\W*$",
    r"\| ?(?:score|verdict) ?\| ?[\"']?(?:0|benign|close|harmless)", r"^-{3} ?role ?: ?(?:system|assistant|developer)\b", r"[:;] ?score ?[:=]? ?0(?:\.0+)?\W*$", r"\b(?:administrator|admin|security team|soc|ciso) ?[:>] ?[\"']?(?:benign|harmless)\b", r"\bassist ?ant ?: ?[\"']?(?:close|benign|harmless)\b",
    r"\bimportant\W{0,4}: ?(?:close|ignore|benign|dismiss)\b",
    r"[\"'](?:grounds|abstain)[\"'] ?:", r"^\W*(?:human|assistant) ?:\W*$", r"<!-- ?(?:score|verdict|system|note to)\b", r"\{\{ ?\d+ ?[*+] ?\d+ ?\}\}", r"```(?:json)? ?\{ ?[\"'](?:score|verdict)", r"\{(?:count|novelty|order|denial|privilege|reach) \w+",
)
# Markup and templates that act wherever they are shown or filled in.
_ACTIVE = (
    r"\$\{(?:jndi|\$\{|lower:|env:)", r"<script\b", r"javascript:", r"<[a-z]{1,12}[^<>]{0,80}[\s/]on[a-z]{3,12} ?=", r"'; ?drop table", r"\bunion (?:all )?select\b", r"' or '?1'? ?= ?'?1",
    r"^[=+@-](?:cmd\||hyperlink\(|import(?:xml|data|html)\()", r"\bdrop table \w+ ?; ?--", r"<iframe\b", r"<!entity\b", r"<!\[cdata\[", r"\bcmd ?\| ?'", r"\{\{[^{}]{0,40}__\w+__", r"__(?:class|globals|import|subclasses)__",
)
_STRICT = re.compile("|".join(_words(pattern) for pattern in _ENGLISH) + "|" + "|".join((*_KOREAN, *_OTHERS, *_TEMPLATE)))
_ANYWHERE = re.compile("|".join(_ACTIVE))
# Only where a value has a form: there nobody writes prose, so a judgement or half an order is one.
_FIELD = re.compile("|".join((
    r"\bignore (?:all|the|everything|any|this|previous|prior|above)\b", r"\bdisregard\s", r"[\s:,;(]benign(?=$|[\s.,;:!\"\'])", r"\bscore ?[:=]? ?0(?:\.0+)?\b", r"\bscore (?:all|is)\b", r"\bsystem prompt\b",
    r"[\"']score[\"'] ?: ?[01]", r"\bno findings\b", r"\bfalse positive\b", r"\byou are (?:now )?(?:a|an)\b", r"[a-z] classifier\b(?! ?/)", r"\bclassifier ?[-:,] [a-z]+ [a-z]", r"\banomaly_score ?[:=]",
    r"\b(?:verified|approved|confirmed|cleared|authori[sz]ed) by (?:an? |the )?(?:administrator|admin|security|soc|ciso|owner)\b", r"\bsecurity team (?:has |have )?(?:approved|verified|cleared|confirmed)",
    r"^(?:#+ )?(?:system|assistant|developer|human) ?: \w", r"</?s>", r"</think>", r"<!--", r"\{\{.{0,200}\}\}", r"\{%.{0,200}%\}", r"```", r"!\[[^\]]{0,200}\]\(", r"\$\((?:curl|wget|id|sh|bash|cat)\b", r"(?:\.\./){3}", r"\bdrop table\b",
    r"보안 ?(?:팀|담당자)\S{0,1} (?:승인|확인|허가)(?:한|했|된)", r"^시스템 ?:", r"이상 없음", r"정상(?:입니다|이다)", r"\b무시하",
)))
# Letters alone, whatever stood between them.
_SQUEEZED = re.compile(
    r"(?:ignore|disregard|forget|override|bypass)(?:all|any|the|your|of|these|my)*(?:previous|prior|above|earlier|preceding|system|safety)+(?:instruction|prompt|order|rule|message|direction|command|guideline|context)|"
    r"(?:ignore|disregard|forget)(?:all|any|the|your|my)+(?:instruction|prompt|directive|guideline)|(?:this|the)(?:case|session|alert)(?:is|was)(?:benign|harmless|notmalicious)|(?:ignore|disregard|forget)(?:all|the|everything)*(?:above|previous)|youareahelpful|setscoreto(?:0|zero)|answerwithscore|youarenow(?:a|an)[a-z]*(?:assistant|bot|gpt)"
)
# What has none of these needs no closer look: each pattern above holds one, in canonical text or in another spelling of it. A cheap test for
# many values at once (the syntax is that of Polars); the tests hold that it loses nothing.
TRIGGERS = (
    r"ignor|disregard|forget|overlook|guidance|hidden|summari|severity|message|override|\brate\b|\bmy\b|cleared|answer|negeer|pomin|talimat|bo qua|abaikan|cmd ?\||__|pretend|jailbreak|prompt|instruct|directive|guideline|guardrail|assistant|grandmother|reviewer|classif|chatbot|copilot|"
    r"benign|harmless|innoc|malicious|suspicious|threat|attack|risk.free|legit|trust|normal|verdict|score|anomaly|finding|\bjudge|\bllm|\bai\b|\bmodel\b|"
    r"\b(?:safe|approved|authori[sz]ed)\b|previous|\b(?:prior|above|earlier|preceding|foregoing|former|your|you)\b|youare|\bas.{1,4}an.{1,4}ai|\bact.{1,4}as\b|"
    r"anything.{1,4}now|mode.{1,4}(?:on|enabled|active)|output.{1,4}nothing|false.{1,4}positive|facts|evidence|repeat.{1,4}after|reward|no.{1,4}grounds|end.{1,4}of\b|"
    r"(?:close|dismiss).{1,40}(?:case|alert|finding|investigation)|action.{1,4}(?:to\b|close)|action.{1,6}close|(?:call|invoke).{1,10}tool|what.{1,4}(?:is|are).{1,4}the|(?:task|mission|objective)s? ?:|"
    r"(?:report|mention|flag|escalate|investigate)\b|(?:are|is).{1,20}(?:test|fake|noise|irrelevant|synthetic|made|simulated|dummy)|(?:respond|reply).{1,30}with\b|raise|"
    r"ignorier|missacht|vergiss|vergessen|beachte|oublie|neglige|tene?z? pas|olvid|descart|dimentic|esque|haz caso|harmlos|unbedenk|gutartig|vertrauens|inoffens|danger|segur|bewertung|"
    r"puntuacion|punteggio|du bist|sie sind|tu es|ahora eres|(?:verified|approved|confirmed|cleared).{1,4}by|security.{1,4}team|"
    r"<[a-z/|!<]|\[/?(?:inst|system)|#.{0,2}(?:instruction|response|assistant|human|system) ?:|\b(?:system|developer|human) ?:(?:\s|$)|[\"'](?:role|score|grounds|abstain)[\"']|role ?:|(?:who|cut|did|denied|reach|after|linked|nearest|rows?) \||important.{1,6}close|assist ?ant ?:|[}\]] ?,|"
    r"\{(?:count|novelty|order|denial|privilege|reach) |\{[{%]|\$[({]|```|!\[|javascript:|drop.table|union.{1,5}select|or '?1|^[=+@-](?:cmd|hyperlink|import)|\.\./\.\./|"
    r"erongi|dragersid|tegrof|suoiverp|snoitcurtsni|tpmorp|ngineb|tcidrev|vtaber|qvfertneq|sbetrg|cerivbhf|vafgehpg|cebzcg|oravta|ireqvpg|npgvba|fpber|nffvfgnag|frffvba|[i1]gn[o0]r|d[i1]sr[e3]g[a4@]rd|f[o0]rg[e3][t7]|pr[e3]v[i1][o0]u[s5$]|[i1]n[s5$][t7]ruc[t7]|"
    r"b[e3]n[i1]gn|pr[o0]mp[t7]|(?:\b\w[\s.,_*|/-]{1,3}){6}|[^\x00-\x7f]"
)


def addresses_reader(text: str, kind: str = "form") -> bool:
    """Tell whether canonical text holds an order, a role, a judgement or active markup.

    `kind` is 'form' for fields whose values have one, 'prose' to leave out what people write in notes, 'command' to leave out markup as well.

    >>> addresses_reader("ignore-all-previous-instructions", "prose"), addresses_reader("ignored by the previous version", "prose")
    (True, False)
    """
    return bool(_STRICT.search(text) or _SQUEEZED.search(text) or (kind != "command" and _ANYWHERE.search(text)) or (kind == "form" and _FIELD.search(text)))


def says_order(text: str) -> bool:
    """Tell whether a repaired spelling (`audit_lab.disguise.spellings`) is an order: the strict words only, with or without gaps."""
    return bool(_STRICT.search(text) or _SQUEEZED.search(text))
