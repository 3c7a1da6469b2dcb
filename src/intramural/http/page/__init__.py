"""What the page (and `intramural` as a remote control) speaks: `/intramural/v1`, plain JSON, documented by OpenAPI.

Read in this order: `routing`, `shapes`; oneself: `seats`, `account`, `factors`, `passkeys`, `federation`; people:
`people`, `organisation`, `rosters`, `consent`, `notices`, `uses`, `quotas`, `vault`; models: `models`, `pulls`,
`catalogue`, `fit`, `provenance`; what is said and kept: `chats`, `exports`, `guard`, `lifecycle`, `break_glass`; what
is told of it all: `records`, `reports`, `proofs`, `anchors`, `egress`, `evidence`, `attestation`.
"""
