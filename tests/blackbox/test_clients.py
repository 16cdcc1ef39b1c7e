"""The OpenAI SDKs, unchanged but for base URL and key."""

import json
import os
import subprocess
from pathlib import Path

import expect
import openai
import pytest

FACES = ["/api/v1", "/v1"]
SCRIPT = Path(__file__).parents[1] / "node/client.mjs"
TOOLS = [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}]


def python(weir, face: str, body: dict) -> dict:
    """What the Python SDK understood."""
    client = openai.OpenAI(
        base_url=f"http://127.0.0.1:{weir.port}{face}", api_key=weir.deployment.key,
        max_retries=0, timeout=10,
    )
    seen = {"text": "", "tools": "", "usage": None, "finish": None, "error": None}

    def read(choice, part):
        seen["text"] += part.content or ""
        for call in part.tool_calls or []:
            seen["tools"] += call.function.arguments or ""
        seen["finish"] = choice.finish_reason or seen["finish"]

    known = {key: body[key] for key in ("model", "messages", "stream", "stream_options", "tools") if key in body}
    extra = {key: value for key, value in body.items() if key not in known}
    try:
        reply = client.chat.completions.create(**known, extra_body=extra)
        if body.get("stream"):
            for chunk in reply:
                for choice in chunk.choices:
                    read(choice, choice.delta)
                seen["usage"] = chunk.usage.model_dump() if chunk.usage else seen["usage"]
        else:
            read(reply.choices[0], reply.choices[0].message)
            seen["usage"] = reply.usage.model_dump()
    except openai.APIError as error:
        status = getattr(error, "status_code", None)
        seen["error"] = {"name": type(error).__name__, "status": status, "message": str(error)}
    return seen


def node(weir, face: str, body: dict) -> dict:
    """What the Node SDK understood."""
    ask = {"baseURL": f"http://127.0.0.1:{weir.port}{face}", "apiKey": weir.deployment.key, "body": body}
    done = subprocess.run(
        ["node", "--input-type=module", "-"], input=SCRIPT.read_text(), text=True, timeout=20,
        capture_output=True, cwd=os.environ["WEIR_NODE"], env=os.environ | {"WEIR_ASK": json.dumps(ask)},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


SDKS = pytest.mark.parametrize("sdk", [python, node], ids=["python", "node"])
MODES = pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
BOTH = pytest.mark.parametrize("face", FACES)


def ask(weir, sdk, face, roles=None, **fields):
    id, body = weir.body(roles, **fields)
    seen = sdk(weir, face, json.loads(body))
    return id, seen


@SDKS
@MODES
@BOTH
def test_a_conversation(shared, sdk, stream, face):
    options = {"stream_options": {"include_usage": True}} if stream else {}
    id, seen = ask(shared, sdk, face, stream=stream, **options)
    assert seen["error"] is None and seen["text"] == expect.WHOLE and seen["finish"] == "stop"
    assert seen["usage"]["completion_tokens"] == expect.OUTPUT
    expect.row(shared.rows(id, 1)[0], "a", "ok", "reported", output=expect.OUTPUT)


@SDKS
@MODES
@BOTH
def test_tools(shared, sdk, stream, face):
    _, seen = ask(shared, sdk, face, {"a": {"tools": True}}, stream=stream, tools=TOOLS)
    assert seen["error"] is None
    assert seen["tools"] == '{"city":"Oslo"}' and seen["finish"] == "tool_calls"


@SDKS
@MODES
@BOTH
@pytest.mark.parametrize("tools", [False, True], ids=["text", "tools"])
def test_a_failover_is_not_seen(run, sdk, stream, face, tools):
    weir = run("ab")
    asked = {"tools": TOOLS} if tools else {}
    id, seen = ask(weir, sdk, face, {"a": {"do": "reset"}, "b": {"tools": tools}}, stream=stream, **asked)
    assert seen["error"] is None
    assert (seen["text"], seen["tools"]) == (("", '{"city":"Oslo"}') if tools else (expect.WHOLE, ""))
    assert [row["provider"] for row in weir.rows(id, 2)] == ["a", "b"]


@SDKS
@BOTH
def test_errors_become_the_sdks_own(shared, sdk, face):
    _, seen = ask(shared, sdk, face, model="acme/x")
    assert seen["error"]["name"] == "BadRequestError" and seen["error"]["status"] == 400
    assert "acme/x is not a valid model ID" in seen["error"]["message"]


@SDKS
@BOTH
def test_a_cut_stream_raises(run, sdk, face):
    """A caller must not take half an answer for a whole one."""
    weir = run("a")
    _, seen = ask(weir, sdk, face, {"a": {"cut": {"event": 2, "how": "reset"}}}, stream=True)
    assert seen["error"] is not None, seen
