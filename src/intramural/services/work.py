"""For whom is being worked: set by who begins it, read by who measures it. It is in no decision about rights."""

from contextvars import ContextVar

from intramural.metering import Work

#: What is asked in this context is for somebody who waits, unless whoever asks says otherwise.
WORK: ContextVar[Work] = ContextVar("work", default="interactive")
