// JavaScript clients of OpenRouter as callers of Weir, unchanged but for base URL and key.
//
//   node --input-type=module --eval "$(cat clients.mjs)" -- NAME    one ask a line, one answer a line
//
// What an ask is and what is understood: tests/python/clients.py.
import { createInterface } from "node:readline";

const RESULT = "rain";
const TIMEOUT = 20000;

const used = (seen, prompt, completion, cost) => {
  seen.usage = { prompt, completion, cost: cost ?? null };
};

// The turns of a conversation with a client that has OpenAI's types, whatever its case.
async function turns(create, seen, body, names) {
  let messages = body.messages;
  for (;;) {
    const reply = await create({ ...body, messages });
    const calls = [];
    let usage = null;
    seen.text = "";
    const read = (choice, part) => {
      seen.text += part.content ?? "";
      for (const [at, call] of (part[names.calls] ?? []).entries()) {
        const whole = (calls[call.index ?? at] ??= { id: "", name: "", arguments: "" });
        whole.id = call.id ?? whole.id;
        whole.name = call.function?.name ?? whole.name;
        whole.arguments += call.function?.arguments ?? "";
      }
      seen.finish = choice[names.finish] ?? seen.finish;
    };
    if (body.stream) {
      for await (const chunk of reply) {
        if (chunk.error) throw Object.assign(new Error(chunk.error.message), { status: chunk.error.code });
        for (const choice of chunk.choices) read(choice, choice.delta);
        usage = chunk.usage ?? usage;
      }
    } else {
      read(reply.choices[0], reply.choices[0].message);
      usage = reply.usage;
    }
    if (usage) used(seen, usage[names.prompt], usage[names.completion], usage.cost);
    if (!calls.length) return;
    const asked = calls.map(({ id, ...rest }) => ({ id, type: "function", function: rest }));
    messages = [...messages, { role: "assistant", content: null, [names.calls]: asked }];
    for (const call of calls) {
      seen.calls.push([call.name, JSON.parse(call.arguments)]);
      messages.push({ role: "tool", [names.callId]: call.id, content: RESULT });
    }
  }
}

const SNAKE = {
  calls: "tool_calls", callId: "tool_call_id", finish: "finish_reason", prompt: "prompt_tokens",
  completion: "completion_tokens",
};
const CAMEL = {
  calls: "toolCalls", callId: "toolCallId", finish: "finishReason", prompt: "promptTokens",
  completion: "completionTokens",
};

async function openai(ask, seen) {
  const { default: OpenAI } = await import("openai");
  const client = new OpenAI({ baseURL: ask.base_url, apiKey: ask.api_key, maxRetries: 0, timeout: TIMEOUT });
  if (ask.do === "models") {
    seen.models = [];
    for await (const model of client.models.list()) seen.models.push(model);
    return;
  }
  await turns((body) => client.chat.completions.create(body), seen, ask.body, SNAKE);
}

async function openrouter(ask, seen) {
  const { OpenRouter } = await import("@openrouter/sdk");
  const client = new OpenRouter({
    serverURL: ask.base_url, apiKey: ask.api_key, timeoutMs: TIMEOUT, retryConfig: { strategy: "none" },
  });
  if (ask.do === "models") {
    seen.models = (await client.models.list()).result.data;
    return;
  }
  if (ask.do === "catalogue") {
    const name = { author: "test", slug: "m" };
    const user = await client.models.listForUser({ bearer: ask.api_key });
    seen.catalogue = {
      count: (await client.models.count()).data.count,
      user: user.result.data.map((model) => model.id),
      model: (await client.models.get(name)).data.id,
      endpoints: (await client.endpoints.list(name)).data.endpoints.map((each) => each.tag),
      zdr: (await client.endpoints.listZdrEndpoints()).data.map((each) => each.tag),
      providers: (await client.providers.list()).data.map((provider) => provider.slug),
    };
    return;
  }
  if (ask.do === "generation") {
    seen.generation = (await client.generations.getGeneration({ id: ask.id })).data;
    return;
  }
  if (ask.do === "check") {
    const { ChatStreamChunk$inboundSchema: chunk } = await import("@openrouter/sdk/models/chatstreamchunk.js");
    const { ChatResult$inboundSchema: whole } = await import("@openrouter/sdk/models/chatresult.js");
    for (const document of ask.documents) (ask.stream ? chunk : whole).parse(document);
    return;
  }
  const { allow_fallbacks: allowFallbacks, ...provider } = ask.body.provider ?? {};
  const { stream_options: _, ...body } = ask.body;
  if (ask.body.provider) body.provider = { ...provider, allowFallbacks };
  await turns((chatRequest) => client.chat.send({ chatRequest }), seen, body, CAMEL);
}

async function ai(ask, seen) {
  const { createOpenRouter } = await import("@openrouter/ai-sdk-provider");
  const { generateText, streamText, stepCountIs, tool, jsonSchema } = await import("ai");
  const { model, provider, messages, stream, tools } = ask.body;
  const client = createOpenRouter({ baseURL: ask.base_url, apiKey: ask.api_key });
  const own = ({ function: { name, parameters } }) => [name, tool({
    inputSchema: jsonSchema(parameters),
    execute: (input) => {
      seen.calls.push([name, input]);
      return RESULT;
    },
  })];
  let failed = null;
  const ways = {
    model: client(model, { provider, usage: { include: true } }),
    prompt: messages[0].content,
    tools: tools && Object.fromEntries(tools.map(own)),
    stopWhen: stepCountIs(3),
    maxRetries: 0,
    onError: ({ error }) => {
      failed = error;
    },
  };
  const done = stream ? streamText(ways) : await generateText(ways);
  if (stream) await done.consumeStream({ onError: ways.onError });
  if (failed) throw failed;
  seen.text = await done.text;
  seen.finish = (await done.finishReason).replace("-", "_");
  const usage = await done.usage;
  const told = (await done.providerMetadata).openrouter;
  seen.provider = told.provider;
  used(seen, usage.inputTokens, usage.outputTokens, told.usage.cost);
}

const CLIENTS = { openai, openrouter, ai };

async function answer(client, ask) {
  const seen = { text: "", calls: [], finish: null, usage: null, error: null };
  try {
    await client(ask, seen);
  } catch (error) {
    const status = error.status ?? error.statusCode ?? null;
    const why = error.cause?.message ? `: ${error.cause.message}` : "";
    seen.error = { name: error.constructor.name, status, message: error.message + why };
  }
  return seen;
}

const client = CLIENTS[process.argv.at(-1)];
for await (const line of createInterface({ input: process.stdin })) {
  console.log(JSON.stringify(await answer(client, JSON.parse(line))));
}
