"""Conversations, kept for the person who had them: on the page (`chats`), and those of their programs.

Promises: every method takes a person's identifier and finds only what is that person's; somebody else's behaves in
every way like one that does not exist. An answer is kept even where it was cut short, with how it ended.
Never: asks a model, decides who may chat, writes the audit log, or lets anybody, of whatever role, read what another
wrote.

Read in this order: `text`, `heads`, `chats`, `responses`, `transcripts`.
"""

from intramural.chats.chats import Chat, Chats, FoundChat, Outcome, StoredMessage, Turn, not_found
from intramural.chats.responses import Item, KeptResponse, KeptResponses, ListedResponse
from intramural.chats.transcripts import Transcript, Transcripts

__all__ = [
    "Chat",
    "Chats",
    "FoundChat",
    "Item",
    "KeptResponse",
    "KeptResponses",
    "ListedResponse",
    "Outcome",
    "StoredMessage",
    "Transcript",
    "Transcripts",
    "Turn",
    "not_found",
]
