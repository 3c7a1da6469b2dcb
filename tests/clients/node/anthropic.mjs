// The official Anthropic client for Node.
import Anthropic from "@anthropic-ai/sdk";

const model = process.env.INTRAMURAL_MODEL;
const client = new Anthropic({ baseURL: process.env.INTRAMURAL_ADDRESS, apiKey: process.env.INTRAMURAL_KEY });
const messages = [{ role: "user", content: "Say hello." }];
const message = await client.messages.create({ model, messages, max_tokens: 12 });
const stream = client.messages.stream({ model, messages, max_tokens: 12 });
let streamed = "";
stream.on("text", (text) => (streamed += text));
const final = await stream.finalMessage();
console.log(
  JSON.stringify({ chat: message.content[0].text, stream: streamed, whole: final.content[0].text }),
);
