"""Where callers come in. Rule: whatever they do, each takes a bounded part of time and memory."""
