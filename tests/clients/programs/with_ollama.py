"""The official Ollama client."""

import json
import os

from ollama import Client

model = os.environ["INTRAMURAL_MODEL"]
client = Client(
    host=os.environ["INTRAMURAL_ADDRESS"], headers={"Authorization": f"Bearer {os.environ['INTRAMURAL_KEY']}"}
)
hello = [{"role": "user", "content": "Say hello."}]
options = {"num_predict": 12}
chat = client.chat(model=model, messages=hello, options=options)
print(
    json.dumps(
        {
            "chat": chat.message.content,
            "tokens": chat.eval_count,
            "stream": "".join(
                part.message.content for part in client.chat(model=model, messages=hello, options=options, stream=True)
            ),
            "generate": client.generate(model=model, prompt="The sea is", options=options).response,
            "embedding": len(client.embed(model=model, input="a river").embeddings[0]),
            "models": [each.model for each in client.list().models],
            "capabilities": client.show(model).capabilities,
            "running": [each.model for each in client.ps().models],
        }
    )
)
