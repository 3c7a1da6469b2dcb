"""CrewAI: one agent with one task."""

import json
import os

os.environ["CREWAI_DISABLE_TELEMETRY"] = os.environ["OTEL_SDK_DISABLED"] = "true"  # nothing leaves the building

from crewai import LLM, Agent, Crew, Task

address, key, model = (os.environ[f"INTRAMURAL_{name}"] for name in ("ADDRESS", "KEY", "MODEL"))
llm = LLM(model=f"openai/{model}", base_url=f"{address}/v1", api_key=key, max_tokens=40)
poet = Agent(role="Poet", goal="Write one line.", backstory="You love the sea.", llm=llm, max_iter=2)
line = Task(description="Write one line about the sea.", expected_output="One line.", agent=poet)
result = Crew(agents=[poet], tasks=[line], verbose=False).kickoff()
print(json.dumps({"raw": result.raw, "tokens": result.token_usage.total_tokens}))
