"""What a question about a case can cost, before anybody knows the case: the longest prompt and the longest answer that settings allow."""

from __future__ import annotations

from typing import NamedTuple

from audit_lab.judge.budget import Price, find_price
from audit_lab.judge.examples import EXAMPLE_TOKENS
from audit_lab.judge.prompt import REPAIR_TOKENS, load_template
from audit_lab.judge.rows import count_tokens
from audit_lab.profile import EndpointSettings, JudgeSettings

# A worked answer of an example: one ground, three checks, two sentences.
_EXAMPLE_ANSWER = 180


class CaseCost(NamedTuple):
    """Most tokens that asking about one case can take, and US dollars; `usd` is None where no price is known."""

    tokens: int
    usd: float | None


def estimate_case(settings: JudgeSettings) -> CaseCost:
    """Return an upper estimate of what one case costs: every model that may be asked, with repeats and the one repair.

    It uses the caps (`evidence_tokens`, `examples`, `max_output_tokens`), so real cases cost less. A case goes to the first endpoint or to
    the cloud one, whichever costs more here, and then possibly to the large one.

    >>> estimate_case(JudgeSettings()).usd is None
    True
    >>> estimate_case(JudgeSettings(gguf="model.gguf")).usd
    0.0
    """
    template = load_template(settings.prompt)
    fixed = count_tokens(template.sections["system"]) + count_tokens(template.sections["user"])
    example = count_tokens(template.sections["example"]) + EXAMPLE_TOKENS + _EXAMPLE_ANSWER
    prompt, answer = fixed + settings.examples * example + settings.evidence_tokens, settings.max_output_tokens
    tokens_in, tokens_out = settings.repeats * prompt, settings.repeats * answer
    if settings.repair:
        # Asked again without examples, with the answer so far and what is wrong with it.
        whole = fixed + settings.evidence_tokens + answer + count_tokens(template.sections["repair"]) + answer
        tokens_in += REPAIR_TOKENS if "again" in template.sections else whole
        tokens_out += answer
    first = [find_price(settings)] + ([_price(settings, settings.cloud)] if settings.cloud else [])
    large = [_price(settings, settings.large)] if settings.large else []
    asked = 1 + len(large)
    costs = [price.of(tokens_in, tokens_out) for price in first + large]
    known = [cost for cost in costs if cost is not None]
    usd = max(known[: len(first)]) + sum(known[len(first) :]) if len(known) == len(costs) else None
    return CaseCost(asked * (tokens_in + tokens_out), usd)


def _price(settings: JudgeSettings, endpoint: EndpointSettings) -> Price:
    return find_price(settings.model_copy(update={
        "model": endpoint.model, "gguf": "", "usd_per_million_in": endpoint.usd_per_million_in,
        "usd_per_million_out": endpoint.usd_per_million_out,
    }))
