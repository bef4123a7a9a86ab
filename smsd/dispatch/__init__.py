"""From the queue to the provider. Rule: one daemon at a time, each message once, in its slot."""
