"""One call to an OpenAI-compatible endpoint, and everything that may go wrong with it, in a word each.

Nothing is sent but the messages handed in. The key comes from the environment variable that the profile names, and is
in no message, file or error. Redirects are not followed: a prompt goes where the profile says, or nowhere.
"""

from __future__ import annotations

import email.utils
import importlib
import json
import os
import re
import time
import urllib.parse
from dataclasses import dataclass
from typing import Any

from audit_lab.errors import JudgeError, MissingExtraError
from audit_lab.judge.rows import count_tokens
from audit_lab.judge.schema import answer_schema
from audit_lab.judge.transport import LimitError, guard
from audit_lab.profile import JudgeSettings

FORMATS = ("json_schema", "json_object", "text")
_BODY_STATUS = (400, 422)
# What comes of the question itself: asking it again costs money and gives the same.
_LASTING = ("bad_request", "too_large")
# Packages whose errors mean that the network or the other side failed.
_NETWORK = ("openai", "httpx", "httpcore", "h11", "ssl", "audit_lab")
# Names of query parameters that carry secrets.
_SECRET = re.compile(r"key|token|secret|password|sig(nature)?$|^code$", re.IGNORECASE)


class CallError(Exception):
    """A call gave no answer: `name` is one word, `again` tells whether another try may help, `wait_s` how long to wait for it.

    `lasting` tells that the same question will fail the same way in a later run.
    """

    def __init__(self, name: str, what: str, *, again: bool = False, wait_s: float | None = None, fatal: bool = False) -> None:
        super().__init__(what)
        self.name, self.again, self.wait_s, self.fatal = name, again, wait_s, fatal
        self.lasting = name in _LASTING


@dataclass(frozen=True)
class Reply:
    """What an endpoint answered: text and usage; `refused` in its words' place when the model declined or was cut short."""

    text: str
    model: str
    tokens_in: int
    tokens_out: int
    latency_ms: float
    refused: str | None = None


class ChatClient:
    """A client of one endpoint.

    Parameters
    ----------
    settings
        Section judge of the profile: endpoint, model, key variable, limits.
    connections
        Calls at once.
    key
        Key of a server that this process started itself; otherwise it comes from the environment.

    Raises
    ------
    MissingExtraError
        When the package openai is not installed.
    JudgeError
        When the endpoint or the model is not named, or the URL holds a password.
    """

    def __init__(self, settings: JudgeSettings, connections: int = 4, key: str | None = None) -> None:
        self.settings = settings
        self.endpoint = check_endpoint(settings)
        try:
            openai = importlib.import_module("openai")
        except ImportError:
            raise MissingExtraError.for_extra("model judges", "llm") from None
        self._openai = openai
        # The HTTP package behind openai (httpx, later httpx2): its transport is where limits hold for every byte.
        self._http = importlib.import_module(openai.DefaultHttpxClient.__mro__[1].__module__.partition(".")[0])
        transport = guard(self._http, self.endpoint, settings, connections)
        secret = key or os.environ.get(settings.api_key_env) or "none"
        url, query = split_url(settings.base_url)
        # Some providers take the key in a header of their own; it is then sent there and nowhere else.
        own = {settings.key_header: secret} if settings.key_header.lower() != "authorization" else None
        self._client = openai.OpenAI(
            api_key=secret, base_url=url, default_query=query or None, default_headers=own, max_retries=0, timeout=settings.timeout_s,
            http_client=self._http.Client(transport=transport, follow_redirects=False, timeout=settings.timeout_s),
        )
        self._schema = answer_schema(bounded=bool(settings.gguf))
        self._schema_tokens = count_tokens(json.dumps(self._schema))
        self._format, self._limit_name, self._temperature = 0, "max_tokens", True

    def parameters(self) -> dict[str, Any]:
        """Return what shapes an answer besides prompt and model: part of the key under which it is kept."""
        bounded = {"bounded": 2} if self.settings.gguf else {}
        return {"temperature": 0, "max_output_tokens": self.settings.max_output_tokens, **bounded}

    def ask(self, messages: list[dict[str, str]]) -> Reply:
        """Send one request and return the answer.

        Raises
        ------
        CallError
            When there is none.
        """
        started = time.monotonic()
        try:
            response = self._client.chat.completions.with_raw_response.create(**self._arguments(messages))
            text = response.text
        except self._openai.APIStatusError as error:
            raise self._status_error(error) from None
        except self._openai.APITimeoutError:
            raise CallError("timeout", f"no answer within {self.settings.timeout_s:g} s", again=True) from None
        except self._openai.APIConnectionError as error:
            raise _connection_error(error) from None
        except Exception as error:
            raise _connection_error(error) from None
        return self._reply(text() if callable(text) else text, messages, (time.monotonic() - started) * 1000)

    def overhead(self) -> int:
        """Return the tokens that a provider may count beyond the messages: the schema, where it is sent."""
        return self._schema_tokens if FORMATS[self._format] == "json_schema" else 0

    def size(self, messages: list[dict[str, str]]) -> int:
        """Return the bytes of the body that `ask` sends."""
        return len(json.dumps(self._request(messages), ensure_ascii=False, separators=(",", ":")).encode())

    def adapt(self) -> bool:
        """Ask for less the next time, after an endpoint did not understand a request; False when nothing is left to leave out."""
        if self._format + 1 < len(FORMATS):
            self._format += 1
            return True
        return False

    def close(self) -> None:
        """Close all connections."""
        self._client.close()

    def _arguments(self, messages: list[dict[str, str]]) -> dict[str, Any]:
        # Handed over as they are, the package need not compare schema and messages with its types: a third of a call's cost.
        request = self._request(messages)
        plain = {name: request.pop(name) for name in ("messages", "response_format") if name in request}
        return {**request, "messages": [], "extra_body": plain}

    def _model_of(self, body: dict[str, Any]) -> str:
        """Return the model as the endpoint names it; a file served here is named by its content, not by its path."""
        return self.settings.model if self.settings.gguf else str(body.get("model") or self.settings.model)[:100]

    def _request(self, messages: list[dict[str, str]]) -> dict[str, Any]:
        request: dict[str, Any] = {"model": self.settings.model, "messages": messages, self._limit_name: self.settings.max_output_tokens}
        if self._temperature:
            request["temperature"] = 0
        if FORMATS[self._format] == "json_schema":
            schema = {"name": "verdict", "strict": True, "schema": self._schema}
            request["response_format"] = {"type": "json_schema", "json_schema": schema}
        elif FORMATS[self._format] == "json_object":
            request["response_format"] = {"type": "json_object"}
        return request

    def _status_error(self, error: Any) -> CallError:
        status = int(error.status_code)
        wait_s = _retry_after(error.response.headers)
        if status in _BODY_STATUS:
            return self._adapted(json.dumps(error.body) if error.body else "") or CallError(
                "bad_request", f"the endpoint does not understand the request ({status})")
        if status >= 500 or status in (408, 409):
            return CallError("server_error", f"the endpoint failed ({status})", again=True, wait_s=wait_s)
        known = {
            401: CallError("unauthorized", f"the endpoint does not accept the key in {self.settings.api_key_env} (401)", fatal=True),
            403: CallError("unauthorized", f"the endpoint does not allow the key in {self.settings.api_key_env} (403)", fatal=True),
            404: CallError("not_found", "the endpoint knows no such model or path (404)", fatal=True),
            429: CallError("rate_limited", "the endpoint asks to slow down (429)", again=True, wait_s=wait_s),
        }
        return known.get(status, CallError("refused", f"the endpoint refused the request ({status})"))

    def _adapted(self, said: str) -> CallError | None:
        """Newer models of one provider take another name for the limit, or no temperature: try again their way."""
        if "max_completion_tokens" in said and self._limit_name == "max_tokens":
            self._limit_name = "max_completion_tokens"
            return CallError("adapted", "the endpoint wants max_completion_tokens", again=True, wait_s=0)
        if "temperature" in said and self._temperature:
            self._temperature = False
            return CallError("adapted", "the endpoint takes no temperature", again=True, wait_s=0)
        return None

    def _reply(self, text: str, messages: list[dict[str, str]], latency_ms: float) -> Reply:
        try:
            body = json.loads(text)
            choice = body["choices"][0]
            message = choice["message"]
            content = message.get("content") or ""
            usage = body.get("usage") or {}
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
            choice = None
        if choice is None or not isinstance(content, str):
            raise CallError("not_an_answer", "the endpoint did not send a chat completion", again=True)
        finish = choice.get("finish_reason")
        refused = None
        if message.get("refusal") or finish == "content_filter":
            refused = "the model refused to answer"
        elif finish == "length":
            refused = f"the answer is longer than {self.settings.max_output_tokens} tokens"
        sent = sum(count_tokens(message["content"]) for message in messages)
        return Reply(
            content, self._model_of(body), _count(usage, "prompt_tokens", sent),
            _count(usage, "completion_tokens", count_tokens(content)), latency_ms, refused,
        )


def check_endpoint(settings: JudgeSettings) -> str:
    """Return host and port of the profile's endpoint, without credentials.

    Raises
    ------
    JudgeError
        When endpoint or model are not named, or the URL cannot be used.
    """
    url = urllib.parse.urlsplit(settings.base_url)
    try:
        port = url.port
    except ValueError:
        port = -1
    if url.scheme not in ("http", "https") or not url.hostname or port == -1:
        raise JudgeError(f"judge.base_url is no endpoint: '{_without_password(settings.base_url)}'", "e.g. http://localhost:8000/v1")
    if url.username or url.password:
        raise JudgeError("judge.base_url holds a user or password", f"put the key into the environment variable {settings.api_key_env}")
    if any(_SECRET.search(name) for name in split_url(settings.base_url)[1]):
        raise JudgeError(
            "judge.base_url holds a key", f"put it into the environment variable {settings.api_key_env}, and judge.key_header if need be")
    if not settings.model:
        raise JudgeError("judge.model names no model", "set it to a model that the endpoint serves")
    return f"{url.hostname}:{port or (443 if url.scheme == 'https' else 80)}"


def split_url(base_url: str) -> tuple[str, dict[str, str]]:
    """Return an endpoint's URL without its query, and the query: some providers want a version with every request.

    >>> split_url("https://x.example/openai/deployments/judge?api-version=2024-10-21")
    ('https://x.example/openai/deployments/judge', {'api-version': '2024-10-21'})
    """
    url, _, query = base_url.partition("?")
    return url, dict(urllib.parse.parse_qsl(query.partition("#")[0]))


def _without_password(url: str) -> str:
    return url.rsplit("@", 1)[-1].partition("?")[0][:100]


def _count(usage: Any, key: str, otherwise: int) -> int:
    value = usage.get(key) if isinstance(usage, dict) else None
    return value if isinstance(value, int) and 0 <= value < 100_000_000 else otherwise


def _retry_after(headers: Any) -> float | None:
    """Return the seconds that a Retry-After header asks for: a number or a date."""
    text = str(headers.get("retry-after") or "").strip()
    try:
        return max(0.0, float(text))
    except ValueError:
        pass
    try:
        return max(0.0, email.utils.parsedate_to_datetime(text).timestamp() - time.time())
    except (ValueError, TypeError):
        return None


def _connection_error(error: BaseException) -> CallError:
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, LimitError):
            too_large = "larger" in str(seen)
            return CallError("too_large" if too_large else "timeout", str(seen), again=not too_large)
        name = type(seen).__name__
        if name in ("ConnectError", "ConnectTimeout", "ConnectionRefusedError", "gaierror"):
            return CallError("unreachable", "the endpoint cannot be reached", again=True)
        if "Timeout" in name:
            return CallError("timeout", "the endpoint answered too slowly", again=True)
        seen = seen.__cause__ or seen.__context__
    if not isinstance(error, OSError) and type(error).__module__.partition(".")[0].rstrip("2") not in _NETWORK:
        return CallError("client_error", f"the client failed before anything was sent ({type(error).__name__})", fatal=True)
    return CallError("cut", "the connection broke before the answer was complete", again=True)
