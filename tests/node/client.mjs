// The OpenAI Node SDK as a caller of Weir. Reads {baseURL, apiKey, body} from WEIR_ASK, prints what
// the SDK understood as one JSON line.
import OpenAI from "openai";

const { baseURL, apiKey, body } = JSON.parse(process.env.WEIR_ASK);
const client = new OpenAI({ baseURL, apiKey, maxRetries: 0, timeout: 10000 });
const seen = { text: "", tools: "", usage: null, finish: null, error: null };
const read = (choice, part) => {
  seen.text += part.content ?? "";
  for (const call of part.tool_calls ?? []) seen.tools += call.function?.arguments ?? "";
  seen.finish = choice.finish_reason ?? seen.finish;
};
try {
  const reply = await client.chat.completions.create(body);
  if (body.stream) {
    for await (const chunk of reply) {
      for (const choice of chunk.choices) read(choice, choice.delta);
      seen.usage = chunk.usage ?? seen.usage;
    }
  } else {
    read(reply.choices[0], reply.choices[0].message);
    seen.usage = reply.usage;
  }
} catch (error) {
  seen.error = { name: error.constructor.name, status: error.status ?? null, message: error.message };
}
console.log(JSON.stringify(seen));
