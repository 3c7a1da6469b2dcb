"""The official Anthropic client."""

import json
import os

from anthropic import Anthropic

model = os.environ["INTRAMURAL_MODEL"]
client = Anthropic(base_url=os.environ["INTRAMURAL_ADDRESS"], api_key=os.environ["INTRAMURAL_KEY"])
hello = [{"role": "user", "content": "Say hello."}]
weather = {
    "name": "get_weather",
    "description": "The weather in a city.",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}
message = client.messages.create(model=model, max_tokens=12, messages=hello)
with client.messages.stream(model=model, max_tokens=12, messages=hello) as stream:
    text = "".join(stream.text_stream)
    final = stream.get_final_message()
call = client.messages.create(
    model=model,
    max_tokens=200,
    messages=[{"role": "user", "content": "What is the weather in Oslo?"}],
    tools=[weather],
    tool_choice={"type": "any"},
)
used = next(block for block in call.content if block.type == "tool_use")
print(
    json.dumps(
        {
            "chat": message.content[0].text,
            "tokens": message.usage.output_tokens,
            "stream": text,
            "stop_reason": final.stop_reason,
            "tool": used.name,
            "city": used.input["city"],
            "counted": client.messages.count_tokens(model=model, messages=hello).input_tokens,
            "models": [each.id for each in client.models.list()],
        }
    )
)
