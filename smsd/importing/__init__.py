"""Files of contacts, parsed in another process. Rule: the event loop does nothing per row."""
