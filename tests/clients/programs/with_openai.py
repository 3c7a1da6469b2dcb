"""The official OpenAI client."""

import json
import os

from openai import OpenAI

model = os.environ["INTRAMURAL_MODEL"]
client = OpenAI(base_url=os.environ["INTRAMURAL_ADDRESS"] + "/v1", api_key=os.environ["INTRAMURAL_KEY"])
hello = [{"role": "user", "content": "Say hello."}]
chat = client.chat.completions.create(model=model, messages=hello, max_tokens=12)
stream = client.chat.completions.create(model=model, messages=hello, max_tokens=12, stream=True)
response = client.responses.create(model=model, input="Say hello.", max_output_tokens=16)
follow = client.responses.create(
    model=model, input="And again.", max_output_tokens=16, previous_response_id=response.id
)
with client.responses.stream(model=model, input="Say hello.", max_output_tokens=16) as events:
    names = [event.type for event in events]
file = client.files.create(file=("note.txt", b"A note."), purpose="user_data")
print(
    json.dumps(
        {
            "models": [each.id for each in client.models.list()],
            "chat": chat.choices[0].message.content,
            "tokens": chat.usage.completion_tokens,
            "stream": "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices),
            "response": response.output_text,
            "follow": follow.previous_response_id == response.id,
            "events": names,
            "embedding": len(client.embeddings.create(model=model, input="a river").data[0].embedding),
            "file": client.files.content(file.id).read().decode(),
        }
    )
)
