"""Python clients of OpenRouter as callers of Weir, unchanged but for base URL and key.

    python clients.py NAME    reads one ask a line, prints what the client understood, a line each

An ask is {"do", "base_url", "api_key", ...}, and `do` one of

    chat        {"body"}, as OpenRouter documents it, with a single message. It goes on until the model
                calls no tool: every call is answered with `RESULT`
    models      a list of all
    catalogue   what the other routes list of `test/m` and of everything
    generation  {"id"}
    check       {"stream", "documents"}: whether the client's own schema takes these replies

What was understood of a chat: {"text", "calls", "finish", "usage", "error"}; of the others, the member
named after what was asked, and `error`.
"""

import json
import os
import sys

RESULT = "rain"
SECONDS = 20


def fields(body: dict, *known: str) -> tuple[dict, dict]:
    """The body's known fields, and the others."""
    own = {key: value for key, value in body.items() if key in known}
    return own, {key: value for key, value in body.items() if key not in known}


class Seen(dict):
    """What a client understood of one conversation."""

    def __init__(self) -> None:
        super().__init__(text="", calls=[], finish=None, usage=None, error=None)

    def call(self, name: str, arguments: object) -> None:
        self["calls"].append([name, json.loads(arguments) if isinstance(arguments, str) else arguments])

    def used(self, prompt: int, completion: int, cost: float | None) -> None:
        self["usage"] = {"prompt": prompt, "completion": completion, "cost": cost}


def plain(value: object) -> dict:
    """A value of an SDK as the document it stands for."""
    return value.model_dump(mode="json", by_alias=True, exclude_unset=True)


class Told(Exception):
    """An error that the client hands over instead of raising it."""

    def __init__(self, error: object) -> None:
        super().__init__(error.message)
        self.status_code = error.code


def openai_chat(create, seen: Seen, body: dict, messages: list) -> None:
    """The turns of a conversation with a client that has OpenAI's types."""
    while True:
        reply = create(body | {"messages": messages})
        calls: dict[int, dict] = {}
        seen["text"] = ""
        usage = None
        for chunk in reply if body.get("stream") else [reply]:
            if getattr(chunk, "error", None):
                raise Told(chunk.error)
            usage = chunk.usage if getattr(chunk, "usage", None) else usage
            for choice in chunk.choices:
                part = choice.delta if body.get("stream") else choice.message
                seen["text"] += part.content or ""
                for at, call in enumerate(part.tool_calls or []):
                    whole = calls.setdefault(getattr(call, "index", at), {"id": "", "name": "", "arguments": ""})
                    whole["id"] = call.id or whole["id"]
                    whole["name"] = call.function.name or whole["name"]
                    whole["arguments"] += call.function.arguments or ""
                seen["finish"] = choice.finish_reason or seen["finish"]
        if usage:
            seen.used(usage.prompt_tokens, usage.completion_tokens, getattr(usage, "cost", None))
        if not calls:
            return
        messages = [*messages, {"role": "assistant", "content": None, "tool_calls": [
            {"id": call["id"], "type": "function",
             "function": {"name": call["name"], "arguments": call["arguments"]}} for call in calls.values()]}]
        for call in calls.values():
            seen.call(call["name"], call["arguments"])
            messages.append({"role": "tool", "tool_call_id": call["id"], "content": RESULT})


def openai(ask: dict, seen: Seen) -> None:
    import openai

    client = openai.OpenAI(base_url=ask["base_url"], api_key=ask["api_key"], max_retries=0, timeout=SECONDS)
    if ask["do"] == "models":
        seen["models"] = [plain(model) for model in client.models.list()]
        return
    own, extra = fields(ask["body"], "model", "messages", "stream", "stream_options", "tools")
    openai_chat(lambda body: client.chat.completions.create(**body, extra_body=extra), seen, own, own["messages"])


def openrouter(ask: dict, seen: Seen) -> None:
    from openrouter import OpenRouter, components

    client = OpenRouter(server_url=ask["base_url"], api_key=ask["api_key"], retry_config=None, timeout_ms=SECONDS * 1000)
    if ask["do"] == "models":
        seen["models"] = [plain(model) for model in client.models.list().result.data]
        return
    if ask["do"] == "catalogue":
        author, slug = "test", "m"
        user = client.models.list_for_user(security={"bearer": ask["api_key"]})
        seen["catalogue"] = {
            "count": client.models.count().data.count,
            "user": [model.id for model in user.result.data],
            "model": client.models.get(author=author, slug=slug).data.id,
            "endpoints": [each.tag for each in client.endpoints.list(author=author, slug=slug).data.endpoints],
            "zdr": [each.tag for each in client.endpoints.list_zdr_endpoints().data],
            "providers": [provider.slug for provider in client.providers.list().data],
        }
        return
    if ask["do"] == "generation":
        seen["generation"] = plain(client.generations.get_generation(id=ask["id"]).data)
        return
    if ask["do"] == "check":
        shape = components.ChatStreamChunk if ask["stream"] else components.ChatResult
        for document in ask["documents"]:
            shape.model_validate(document)
        return
    openai_chat(lambda body: client.chat.send(**body), seen, ask["body"], ask["body"]["messages"])


def pydantic_ai(ask: dict, seen: Seen) -> None:
    from openai import AsyncOpenAI
    from pydantic_ai import Agent
    from pydantic_ai.messages import ToolCallPart
    from pydantic_ai.models.openrouter import OpenRouterModel, OpenRouterModelSettings
    from pydantic_ai.providers.openrouter import OpenRouterProvider

    body = ask["body"]
    client = AsyncOpenAI(base_url=ask["base_url"], api_key=ask["api_key"], max_retries=0, timeout=SECONDS)
    model = OpenRouterModel(body["model"], provider=OpenRouterProvider(openai_client=client))
    settings = OpenRouterModelSettings()
    if "provider" in body:
        settings["openrouter_provider"] = body["provider"]
    agent = Agent(model, model_settings=settings, retries=0)
    if "tools" in body:
        @agent.tool_plain
        def weather(city: str) -> str:
            """The weather of a city."""
            return RESULT

    prompt = body["messages"][0]["content"]
    run = agent.run_stream_sync(prompt) if body.get("stream") else agent.run_sync(prompt)
    seen["text"] = run.get_output() if body.get("stream") else run.output
    for message in run.all_messages():
        for part in message.parts:
            if isinstance(part, ToolCallPart):
                seen.call(part.tool_name, part.args)
    last = run.all_messages()[-1]
    seen["finish"] = last.provider_details["finish_reason"]
    seen["provider"] = last.provider_details["downstream_provider"]
    seen.used(last.usage.input_tokens, last.usage.output_tokens, last.provider_details.get("cost"))


def litellm(ask: dict, seen: Seen) -> None:
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
    import litellm

    place = {"api_base": ask["base_url"], "api_key": ask["api_key"]}
    if ask["do"] == "models":
        listed = litellm.get_valid_models(
            check_provider_endpoint=True, custom_llm_provider="openrouter", **place)
        seen["models"] = [{"id": name.removeprefix("openrouter/")} for name in listed]
        return
    own, extra = fields(ask["body"], "messages", "stream", "stream_options", "tools")
    model = "openrouter/" + extra.pop("model")
    if own.get("stream"):
        own["stream_options"] = {"include_usage": True}  # else it keeps the usage to itself

    def create(body: dict) -> object:
        return litellm.completion(model, **body, **place, extra_body=dict(extra), num_retries=0, timeout=SECONDS)

    openai_chat(create, seen, own, own["messages"])


def langchain(ask: dict, seen: Seen) -> None:
    from langchain_core.messages import HumanMessage, ToolMessage
    from langchain_openrouter import ChatOpenRouter

    body = ask["body"]
    model = ChatOpenRouter(
        model=body["model"], base_url=ask["base_url"], api_key=ask["api_key"], max_retries=0,
        timeout=SECONDS * 1000, openrouter_provider=body.get("provider"),
    )
    model.client.sdk_configuration.retry_config = None  # without retries it takes the SDK's: an hour of them
    chat = model.bind_tools(body["tools"]) if "tools" in body else model
    messages = [HumanMessage(body["messages"][0]["content"])]
    while True:
        if body.get("stream"):
            parts = list(chat.stream(messages))
            reply = parts[0]
            for part in parts[1:]:
                reply += part
        else:
            reply = chat.invoke(messages)
        if not reply.tool_calls:
            break
        messages.append(reply)
        for call in reply.tool_calls:
            seen.call(call["name"], call["args"])
            messages.append(ToolMessage(RESULT, tool_call_id=call["id"]))
    seen["text"] = reply.content
    seen["finish"] = reply.response_metadata["finish_reason"]
    used = reply.usage_metadata
    seen.used(used["input_tokens"], used["output_tokens"], reply.response_metadata.get("cost"))


CLIENTS = {client.__name__: client for client in (openai, openrouter, pydantic_ai, litellm, langchain)}


def answer(client, ask: dict) -> Seen:
    """What the client understood, or the error that it raised."""
    seen = Seen()
    try:
        client(ask, seen)
    except Exception as error:  # whatever it raises is what its user sees
        status = getattr(error, "status_code", None)
        seen["error"] = {"name": type(error).__name__, "status": status, "message": str(error)}
    return seen


if __name__ == "__main__":
    chosen = CLIENTS[sys.argv[1]]
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # some print what went wrong
    for line in sys.stdin:
        print(json.dumps(answer(chosen, json.loads(line))), file=answers, flush=True)
