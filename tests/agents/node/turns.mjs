// The Vercel AI SDK before the gateway: turns with a tool call. Prints one line of JSON: what was said in the end.
import { createAnthropic } from "@ai-sdk/anthropic";
import { createOpenAI } from "@ai-sdk/openai";
import { generateText, isStepCount, stepCountIs, streamText, tool } from "ai";
import { z } from "zod";

const { GATEWAY, KEY, TURNS } = process.env;
const openai = createOpenAI({ baseURL: `${GATEWAY}/v1`, apiKey: KEY });
const anthropic = createAnthropic({ baseURL: `${GATEWAY}/v1`, apiKey: KEY });
const models = {
  "Vercel AI SDK": (name) => openai.chat(name),
  "Vercel AI SDK (responses)": (name) => openai(name),
  "Vercel AI SDK (messages)": (name) => anthropic(name),
};
const weather = tool({
  description: "The weather in a city.",
  inputSchema: z.object({ city: z.string() }),
  execute: async ({ city }) => `42 degrees in ${city}`,
});

const said = [];
for (const [client, name, stream] of JSON.parse(TURNS)) {
  const asked = {
    model: models[client](name),
    instructions: "You help.",
    prompt: "How is the weather in Rome?",
    tools: { weather },
    stopWhen: (isStepCount ?? stepCountIs)(3),
    maxRetries: 0,
  };
  if (stream) {
    let failure;
    const { text } = streamText({ ...asked, onError: ({ error }) => (failure = error) });
    said.push(await text);
    if (failure) throw failure;
  } else {
    said.push((await generateText(asked)).text);
  }
}
console.log(JSON.stringify(said));
