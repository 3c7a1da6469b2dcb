"""The Responses API: `/v1/responses` and what belongs to it.

Reading order: `shapes` (what comes in), `items` (the parts of a conversation), `parse` (everything else that is asked
for), `write` (events → the response and its stream), `create` (the route).
"""
