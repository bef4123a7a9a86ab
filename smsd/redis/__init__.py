"""The connection to Redis. Rule: nothing here knows what a message is."""
