"""From the queue to the provider. Rule: one daemon at a time, each text once, in its slot."""
