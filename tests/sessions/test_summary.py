import pytest
from session_frames import make_events

from audit_lab.profile_files import load_profile
from audit_lab.sessions import build_sessions, count_tokens
from audit_lab.sessions.summary import MAX_TOKENS, Action, summarize
from audit_lab.vocabulary import WORDS, is_closed

SAMPLE = load_profile("sample", {})
ROW = {"user": "bob", "actor_kind": "human", "source_class": "public", "client_families": ["kubectl"]}


def test_duplicates_share_a_digest():
    uses = [("x", 0), ("y", 1), ("y", 2), ("z", 3), ("z", 4)]
    rows = [{"at": at, "user": user, "verb": "list", "resource": "secrets"} for user, at in uses]
    # x listed once; y and z twice, from the same kind of place: the same text, but each has seen other peers.
    found = build_sessions(make_events(*rows), SAMPLE).sessions.sort("user")
    assert found["summary_digest"].n_unique() == 2
    assert found["summary_digest"][1] == found["summary_digest"][2]


def test_says_who_what_in_order_what_was_denied_and_what_is_new():
    events = make_events(
        {"at": 0, "user": "peer", "verb": "get", "name": "p"},
        {"at": 1, "verb": "list", "resource": "pods"},
        {"at": 900, "verb": "list", "resource": "pods", "source_ip": "203.0.113.9", "source_class": "public"},
        {"at": 901, "verb": "list", "resource": "secrets", "status": 403, "source_ip": "203.0.113.9", "source_class": "public"},
        {"at": 902, "verb": "list", "resource": "secrets", "namespace": "shop", "source_ip": "203.0.113.9", "source_class": "public"},
    )
    assert build_sessions(events, SAMPLE).sessions.sort("start")["summary"][-1] == (
        "human user-1 from public source, client kubectl. New source. Did: list pods cluster-wide x1; list secrets cluster-wide x1 denied "
        "new to peers; list secrets x1 new to peers. In 1 namespace."
    )


def test_a_long_session_keeps_what_matters_within_the_limit():
    kinds = ("lease", "ingress", "job", "event")
    harmless = [Action(f"{verb} {kind}", 3, 0, False, False) for verb in ("read", "watch") for kind in kinds] * 9
    loud = Action("bind cluster-admin cluster-wide to service-account", 1, 0, True, True)
    text = summarize(ROW, [*harmless[:40], loud, *harmless[40:]])
    assert loud.token in text
    assert "and 31-100 other actions" in text
    assert count_tokens(text) + 2 <= MAX_TOKENS


def test_the_count_of_word_pieces_is_never_below_the_tokenizers():
    tokenizers = pytest.importorskip("tokenizers", reason="needs the extra 'embed'")
    from audit_lab.errors import MissingExtraError
    from audit_lab.signals.embeddings import model_folder

    try:
        folder = model_folder()
    except MissingExtraError as error:
        pytest.skip(str(error))
    tokenizer = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    too_low = [word for word in WORDS if count_tokens(word) < len(tokenizer.encode(word, add_special_tokens=False).tokens)]
    assert too_low == []


def test_an_unknown_kind_source_or_client_is_not_repeated():
    text = summarize({**ROW, "actor_kind": "evil", "source_class": "office", "client_families": ["x y z"]}, [])
    assert text == "other user-1 from named-range source, client other. First session of this actor. Did: nothing."
    assert is_closed(text)
