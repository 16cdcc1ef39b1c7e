"""What answers must look like: whole, refused, or cut; on either face."""

from __future__ import annotations

from client import Reply
from script import TEXT, USAGE
from weir import Answer

WHOLE = "".join(TEXT)
INPUT, OUTPUT = USAGE["prompt_tokens"], USAGE["completion_tokens"]
BOTH_FACES = ["/api/v1/chat/completions", "/v1/chat/completions"]

# error_type of each status (contract 5.3)
TYPES = {
    400: "invalid_request", 401: "authentication", 402: "payment_required", 403: "permission_denied",
    404: "not_found", 408: "timeout", 413: "payload_too_large", 422: "unprocessable", 429: "rate_limit_exceeded",
    415: "invalid_request", 424: "invalid_request", 451: "invalid_request",
    500: "server", 502: "provider_unavailable", 503: "provider_overloaded", 504: "timeout",
}


def whole(answer: Answer | Reply, text: str = WHOLE) -> None:
    """A good answer, to its end."""
    assert answer.status == 200, (answer.status, answer.body[:500])
    assert answer.ended == "clean", answer.ended
    assert answer.text == text
    if "event-stream" in answer.headers["content-type"]:
        assert answer.done, answer.body[-200:]
        assert "content-length" not in answer.headers


def refused(answer: Answer | Reply, status: int, message: str | None = None, type: str | None = None) -> dict:
    """The contract's envelope with this status; returns the error."""
    assert answer.ended == "clean", answer.ended
    assert answer.status == status, (answer.status, answer.body[:500])
    assert answer.headers["content-type"].startswith("application/json")
    error = answer.json()["error"]
    assert error["code"] == status and isinstance(error["code"], int)
    assert error["metadata"]["error_type"] == (type or TYPES[status]), error
    assert isinstance(error["message"], str) and error["message"]
    assert "type" in error and "param" in error, "OpenAI's SDKs read both"
    if status in (429, 503):
        assert int(answer.headers["retry-after"]) == error["metadata"]["retry_after_seconds"] >= 1, error
    if message is not None:
        assert error["message"] == message
    return error


def cut(answer: Answer | Reply, code: int | tuple[int, ...], text: str | None = None) -> dict:
    """A stream that began well and ended with the contract's error event (contract 4.4)."""
    assert answer.status == 200, (answer.status, answer.body[:500])
    assert answer.ended == "clean", answer.ended
    assert "[DONE]" not in answer.data, "a cut stream must not look finished"
    last = answer.chunks[-1]
    codes = code if isinstance(code, tuple) else (code,)
    assert last["error"]["code"] in codes, last
    assert last["error"]["message"] and type(last["error"]["code"]) is int
    assert last["choices"][0]["finish_reason"] == "error", last
    assert last["object"] == "chat.completion.chunk" and last["id"] and last["model"] and last["created"]
    if text is not None:
        assert answer.text == text
    return last["error"]


def row(found: dict, provider: str, outcome: str, source: str = "none", **columns: object) -> None:
    """One attempt of the ledger."""
    want = {"provider": provider, "outcome": outcome, "source": source} | columns
    have = {column: found[column] for column in want}
    assert have == want, f"{have}, not {want}"


def free(found: dict) -> None:
    """An attempt nobody pays for and that used nothing."""
    assert found.tokens == {} and found["cost"] == 0 and found["charge"] == 0, dict(found)


def insured(found: dict, cost: int) -> None:
    """An attempt that failed its caller after content: it costs, and nobody is charged."""
    assert (found["cost"], found["charge"]) == (cost, 0), dict(found)


def paid(found: dict, cost: int) -> None:
    """An attempt whose content reached the caller: charge equals cost."""
    assert (found["cost"], found["charge"]) == (cost, cost), dict(found)
