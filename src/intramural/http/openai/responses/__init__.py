"""The Responses API: `/v1/responses` and what belongs to it.

Read in this order: `shapes` (what comes in), `items` (the parts of a conversation), `parse` and `head` (everything
else that is asked for, and its echo), `outputs` and `write` (events → the response and its stream), `create`
(answering), `kept` (what can be done with a response that was made); `checks` and `pages` serve several.
"""
