// Anthropic's own client for Node, before a gateway: what each thing it tried came to, as one line of JSON.
import Anthropic from "@anthropic-ai/sdk";

const { GATEWAY } = process.env;
const keys = JSON.parse(process.env.KEYS);
const lanes = JSON.parse(process.env.LANES);

const clientOf = (apiKey) => new Anthropic({ baseURL: GATEWAY, apiKey, maxRetries: 0 });
const client = clientOf(keys.good);
const says = (content) => [{ role: "user", content }];
const ITALY = "What is the capital of Italy?";
const WEATHER = "How is the weather in Rome and Oslo?";
const degrees = { Rome: "22 degrees", Oslo: "5 degrees" };
const input_schema = { type: "object", properties: { city: { type: "string" } }, required: ["city"] };
const tools = [{ name: "weather", input_schema }];
const usageOf = ({ input_tokens, output_tokens }) => [input_tokens, output_tokens];
const textOf = ({ content }) => content.map(({ text }) => text ?? "").join("");

// The assistant's turn, and what its tools answered.
const turnsAfter = ({ content }) => [
  { role: "assistant", content },
  {
    role: "user",
    content: content
      .filter(({ type }) => type === "tool_use")
      .map(({ id, input }) => ({ type: "tool_result", tool_use_id: id, content: degrees[input.city] })),
  },
];

const chats = {
  async plain(model) {
    const answer = await client.messages.create({ model, messages: says(ITALY), max_tokens: 99 });
    return { text: textOf(answer), stop: answer.stop_reason, usage: usageOf(answer.usage), model: answer.model };
  },
  async streamed(model) {
    const stream = client.messages.stream({ model, messages: says(ITALY), max_tokens: 99 });
    let pieces = 0;
    stream.on("text", () => (pieces += 1));
    const answer = await stream.finalMessage();
    return { text: textOf(answer), stop: answer.stop_reason, usage: usageOf(answer.usage), pieces };
  },
  async tools(model) {
    const messages = says(WEATHER);
    const first = await client.messages.create({ model, messages, max_tokens: 99, tools });
    messages.push(...turnsAfter(first));
    const second = await client.messages.create({ model, messages, max_tokens: 99, tools });
    return { text: textOf(second), stop: first.stop_reason };
  },
  async "tools, streamed"(model) {
    const messages = says(WEATHER);
    const first = await client.messages.stream({ model, messages, max_tokens: 99, tools }).finalMessage();
    messages.push(...turnsAfter(first));
    const second = await client.messages.stream({ model, messages, max_tokens: 99, tools }).finalMessage();
    return { text: textOf(second), stop: first.stop_reason };
  },
  async "tool runner, thread off"(model) {
    const weather = {
      type: "custom",
      name: "weather",
      input_schema,
      run: ({ city }) => degrees[city],
      parse: (input) => input,
    };
    const asked = { model, messages: says(WEATHER), max_tokens: 99, tools: [weather], thread: false };
    return { text: textOf(await client.beta.messages.toolRunner(asked)) };
  },
  async "count of tokens"(model) {
    return (await client.messages.countTokens({ model, messages: says(ITALY), tools })).input_tokens;
  },
};

// What was thrown, as far as our side decides it.
async function thrown(work) {
  try {
    await work();
  } catch (error) {
    return { kind: error.constructor.name, status: error.status, type: error.type, named: Boolean(error.requestID) };
  }
  return null;
}

async function failures(model) {
  const ask = (key, model, words) =>
    clientOf(key).messages.create({ model, messages: says(words), max_tokens: 500 });
  const listen = () =>
    client.messages.stream({ model, messages: says("Please break off."), max_tokens: 500 }).finalMessage();
  await ask(keys.slow, model, ITALY);
  return {
    wrong: await thrown(() => ask(keys.wrong, model, ITALY)),
    poor: await thrown(() => ask(keys.poor, model, ITALY)),
    slow: await thrown(() => ask(keys.slow, model, ITALY)),
    unknown: await thrown(() => ask(keys.good, "nothing-of-ours", ITALY)),
    rejected: await thrown(() => ask(keys.good, model, "reject")),
    failed: await thrown(() => ask(keys.good, model, "fail")),
    broken: await thrown(listen),
  };
}

async function models() {
  const ids = [];
  for await (const { id } of client.models.list()) ids.push(id);
  return ids;
}

// Nothing that fails keeps the rest from being tried.
const tried = (work) => work.catch((error) => ({ failed: String(error) }));
const each = async (things, model) =>
  Object.fromEntries(await Promise.all(Object.entries(things).map(async ([name, one]) => [name, await tried(one(model))])));

const results = { chats: {}, models: await tried(models()) };
for (const [lane, model] of Object.entries(lanes)) results.chats[lane] = await each(chats, model);
results.failures = await tried(failures(lanes.anthropic));
console.log(JSON.stringify(results));
