"""Conversations, kept for the person who had them.

Promises: every method takes a person's identifier and finds only that person's chats; somebody else's chat behaves in
every way like one that does not exist. An answer is kept even where it was cut short, with how it ended.
Never: asks a model, decides who may chat, writes the audit log, or lets anybody, of whatever role, read what another
wrote.

Read in this order: `text`, `chats`.
"""

from intramural.chats.chats import Chat, Chats, FoundChat, Outcome, StoredMessage, Turn

__all__ = ["Chat", "Chats", "FoundChat", "Outcome", "StoredMessage", "Turn"]
