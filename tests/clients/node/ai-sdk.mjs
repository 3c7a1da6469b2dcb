// The Vercel AI SDK with its OpenAI-compatible provider.
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { embed, generateText, jsonSchema, streamText, tool } from "ai";

const provider = createOpenAICompatible({
  name: "intramural",
  baseURL: process.env.INTRAMURAL_ADDRESS + "/v1",
  apiKey: process.env.INTRAMURAL_KEY,
});
const model = provider(process.env.INTRAMURAL_MODEL);
const said = await generateText({ model, prompt: "Say hello.", maxOutputTokens: 12 });
let streamed = "";
for await (const part of streamText({ model, prompt: "Say hello.", maxOutputTokens: 12 }).textStream) streamed += part;
const weather = tool({
  description: "The weather in a city.",
  inputSchema: jsonSchema({ type: "object", properties: { city: { type: "string" } }, required: ["city"] }),
});
const called = await generateText({
  model,
  prompt: "What is the weather in Oslo?",
  tools: { weather },
  toolChoice: "required",
  maxOutputTokens: 200,
});
const vector = await embed({ model: provider.embeddingModel(process.env.INTRAMURAL_MODEL), value: "a river" });
console.log(
  JSON.stringify({
    chat: said.text,
    stream: streamed,
    tool: called.toolCalls[0].toolName,
    city: typeof called.toolCalls[0].input.city,
    embedding: vector.embedding.length,
  }),
);
