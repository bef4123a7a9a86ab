"""Contacts to batches. Rule: a batch is closed by what is in it, not by when it came."""

from collections.abc import Iterator

from smsd.core.contacts.events import LARGEST_BATCH, MOST_IN_BATCH, Batch, Contact


class Batches:
    """The batch that is being filled."""

    def __init__(self) -> None:
        self.contacts: list[Contact] = []
        self.size = 0  # characters of the rows

    def add(self, contact: Contact, size: int) -> bool:
        """Whether the batch is full now, so that it is time to `take` it."""
        self.contacts.append(contact)
        self.size += size
        return len(self.contacts) >= MOST_IN_BATCH or self.size >= LARGEST_BATCH

    def take(self) -> Iterator[Batch]:
        """What is in it, if anything is."""
        if self.contacts:
            yield Batch(self.contacts)
            self.contacts = []
            self.size = 0


def without_empty_end(contact: Contact) -> Contact:
    """A contact without the empty values at its end."""
    length = len(contact)
    while not contact[length - 1]:  # a number is never empty
        length -= 1
    return contact[:length]
