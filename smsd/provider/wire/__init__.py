"""What HTTP providers share. Rule: a request is written once, in its slot, or never."""
