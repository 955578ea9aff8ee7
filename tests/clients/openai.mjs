// OpenAI's own client for Node, before a gateway: what each thing it tried came to, as one line of JSON.
import OpenAI from "openai";

const { GATEWAY } = process.env;
const keys = JSON.parse(process.env.KEYS);
const lanes = JSON.parse(process.env.LANES);
const embedders = JSON.parse(process.env.EMBEDDERS);

const clientOf = (apiKey) => new OpenAI({ baseURL: `${GATEWAY}/v1`, apiKey, maxRetries: 0 });
const client = clientOf(keys.good);
const says = (content) => [{ role: "user", content }];
const ITALY = "What is the capital of Italy?";
const WEATHER = "How is the weather in Rome and Oslo?";
const degrees = { Rome: "22 degrees", Oslo: "5 degrees" };
const parameters = { type: "object", properties: { city: { type: "string" } }, required: ["city"] };
const usageOf = (usage) => [usage.prompt_tokens ?? usage.input_tokens, usage.completion_tokens ?? usage.output_tokens];

function runnable(asked) {
  const weather = ({ city }) => {
    asked.push(city);
    return degrees[city];
  };
  return [{ type: "function", function: { name: "weather", function: weather, parse: JSON.parse, parameters } }];
}

const chats = {
  async plain(model) {
    const answer = await client.chat.completions.create({ model, messages: says(ITALY) });
    const [{ message, finish_reason }] = answer.choices;
    return { text: message.content, finish: finish_reason, usage: usageOf(answer.usage), model: answer.model };
  },
  async streamed(model) {
    const stream = client.chat.completions.stream({
      model,
      messages: says(ITALY),
      stream_options: { include_usage: true },
    });
    const pieces = [];
    stream.on("content", (piece) => pieces.push(piece));
    const { content, role } = await stream.finalMessage();
    return { text: content, role, pieces: pieces.length, usage: usageOf(await stream.totalUsage()) };
  },
  async tools(model) {
    const asked = [];
    const runner = client.chat.completions.runTools({ model, messages: says(WEATHER), tools: runnable(asked) });
    return { text: await runner.finalContent(), asked };
  },
  async "tools, streamed"(model) {
    const asked = [];
    const runner = client.chat.completions.runTools({
      model,
      messages: says(WEATHER),
      tools: runnable(asked),
      stream: true,
    });
    return { text: await runner.finalContent(), asked };
  },
};

const responses = {
  async plain(model) {
    const answer = await client.responses.create({ model, input: ITALY, store: false });
    return { text: answer.output_text, status: answer.status, usage: usageOf(answer.usage) };
  },
  async streamed(model) {
    const stream = client.responses.stream({ model, input: ITALY });
    let pieces = 0;
    stream.on("response.output_text.delta", () => (pieces += 1));
    const answer = await stream.finalResponse();
    return { text: answer.output_text, status: answer.status, pieces };
  },
  async tools(model) {
    const tools = [{ type: "function", name: "weather", parameters, strict: false }];
    const input = says(WEATHER);
    const first = await client.responses.create({ model, input, tools });
    const calls = first.output.filter((item) => item.type === "function_call");
    const outputs = calls.map(({ call_id, arguments: text }) => ({
      type: "function_call_output",
      call_id,
      output: degrees[JSON.parse(text).city],
    }));
    const second = await client.responses.create({ model, input: [...input, ...first.output, ...outputs], tools });
    return { text: second.output_text, asked: calls.map(({ arguments: text }) => JSON.parse(text).city) };
  },
};

// What was thrown, as far as our side decides it.
async function thrown(work) {
  try {
    await work();
  } catch (error) {
    const { status, code, requestID } = error;
    return { kind: error.constructor.name, status, code, named: Boolean(requestID) };
  }
  return null;
}

async function failures(model) {
  const ask = (key, model, words, rest) =>
    clientOf(key).chat.completions.create({ model, messages: says(words), ...rest });
  const listen = async () => {
    for await (const _ of await ask(keys.good, model, "Please break off.", { stream: true }));
  };
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

async function embeddings(model) {
  const answer = await client.embeddings.create({ model, input: "the Pantheon" });
  return answer.data.map(({ embedding }) => embedding.length);
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

const results = { chats: {}, responses: {}, embeddings: {}, models: await tried(models()) };
for (const [lane, model] of Object.entries(lanes)) {
  results.chats[lane] = await each(chats, model);
  results.responses[lane] = await each(responses, model);
}
for (const [lane, model] of Object.entries(embedders)) results.embeddings[lane] = await tried(embeddings(model));
results.failures = await tried(failures(lanes.openai));
console.log(JSON.stringify(results));
