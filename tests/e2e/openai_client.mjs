// A client with the real `openai` package: prints what it found as one JSON object.
// Usage: node openai_client.mjs <base url> <token>
import { once } from "node:events";
import OpenAI from "openai";

const [baseURL, apiKey] = process.argv.slice(2);
const client = new OpenAI({ baseURL, apiKey, maxRetries: 0 });
const ask = (content, more = {}) =>
  client.chat.completions.create({ model: "scripted", messages: [{ role: "user", content }], ...more });
const errorOf = async (call) => {
  try {
    await call();
    return "no error";
  } catch (error) {
    return error.constructor.name;
  }
};
const collect = async (stream) => {
  let text = "";
  let usage = null;
  for await (const chunk of stream) {
    text += chunk.choices[0]?.delta?.content ?? "";
    usage = chunk.usage ?? usage;
  }
  return { text, usage };
};

const found = {};
found.models = (await client.models.list()).data.map((model) => model.id);
found.model = (await client.models.retrieve("scripted")).id;
found.chat = (await ask("say hello")).choices[0].message.content;
found.stream = await collect(await ask("chunks 100", { stream: true, stream_options: { include_usage: true } }));

found.errors = {
  unknownModel: await errorOf(() => client.models.retrieve("unheard-of")),
  wrongKey: await errorOf(() => new OpenAI({ baseURL, apiKey: "wrong", maxRetries: 0 }).models.list()),
  noModel: await errorOf(() => client.post("/chat/completions", { body: { messages: [] } })),
  tooLarge: await errorOf(() => ask("x".repeat(2_000_000))),
  brokenStream: await errorOf(async () => collect(await ask("cut_between", { stream: true }))),
};
for (const status of [400, 401, 403, 404, 409, 422, 429, 500]) {
  found.errors[status] = await errorOf(() => ask(`status ${status}`));
}

const stream = await ask("gates node 1", { stream: true });
found.beforeAbort = "";
for await (const chunk of stream) {
  found.beforeAbort += chunk.choices[0].delta.content ?? "";
  stream.controller.abort();
}
const aborter = new AbortController();
const aborted = errorOf(() =>
  client.chat.completions.create(
    { model: "scripted", messages: [{ role: "user", content: "silent node-silent" }] },
    { signal: aborter.signal },
  ),
);
process.stdout.write("waiting\n");
await once(process.stdin, "data");
aborter.abort();
found.aborted = await aborted;
process.stdout.write(`${JSON.stringify(found)}\n`);
process.exit(0);
