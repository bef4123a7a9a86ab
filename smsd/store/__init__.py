"""What is durable. Rule: each change of a text's place is one script in Redis, safe to repeat."""
