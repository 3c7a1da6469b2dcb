"""The words everyone shares: identifiers, people who act, chat requests and events, errors, the clock, settings.

Promises: plain frozen values, and one way of doing something every so often (`rounds`). No I/O except reading settings
(`config`, `engines`), the system's clock (`clock`), files that are written whole or not at all (`durable`), the private
socket's place (`console`), that of temporary files (`temporary`), and what the environment tells libraries (`quiet`).
Never: imports another room.

Read in this order: `errors`, `chat`, `pictures`, `bare`, `work`, `actor`, `clock`, `rounds`, `durable`, `ids`,
`retention`, `outward`, `engines`, `providers`, `config`, `console`, `temporary`, `quiet`.
"""
