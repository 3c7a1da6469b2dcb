"""What the page (and `intramural` as a remote control) speaks: `/intramural/v1`, plain JSON, documented by OpenAPI.

Reading order: `routing`, `shapes`, `account`, `people`, `keys`, `models`, `pulls`, `provenance`, `catalogue`, `fit`,
`chats`, `lifecycle`, `records`, `egress`.
"""
