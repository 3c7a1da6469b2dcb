// The official OpenAI client for Node.
import OpenAI from "openai";

const model = process.env.INTRAMURAL_MODEL;
const client = new OpenAI({ baseURL: process.env.INTRAMURAL_ADDRESS + "/v1", apiKey: process.env.INTRAMURAL_KEY });
const messages = [{ role: "user", content: "Say hello." }];
const chat = await client.chat.completions.create({ model, messages, max_tokens: 12 });
let streamed = "";
for await (const chunk of await client.chat.completions.create({ model, messages, max_tokens: 12, stream: true })) {
  streamed += chunk.choices[0]?.delta?.content ?? "";
}
const response = await client.responses.create({ model, input: "Say hello.", max_output_tokens: 16 });
const embedding = await client.embeddings.create({ model, input: "a river" });
console.log(
  JSON.stringify({
    chat: chat.choices[0].message.content,
    stream: streamed,
    response: response.output_text,
    embedding: embedding.data[0].embedding.length,
  }),
);
