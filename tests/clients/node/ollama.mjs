// The official Ollama client for JavaScript.
import { Ollama } from "ollama";

const model = process.env.INTRAMURAL_MODEL;
const headers = { Authorization: `Bearer ${process.env.INTRAMURAL_KEY}` };
const client = new Ollama({ host: process.env.INTRAMURAL_ADDRESS, headers });
const messages = [{ role: "user", content: "Say hello." }];
const options = { num_predict: 12 };
const chat = await client.chat({ model, messages, options });
let streamed = "";
for await (const part of await client.chat({ model, messages, options, stream: true })) streamed += part.message.content;
const embedded = await client.embed({ model, input: "a river" });
const listed = await client.list();
console.log(
  JSON.stringify({
    chat: chat.message.content,
    stream: streamed,
    embedding: embedded.embeddings[0].length,
    models: listed.models.map((each) => each.model),
  }),
);
