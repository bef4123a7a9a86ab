"""What HTTP providers share. Rule: a request leaves once, in its slot, or nothing leaves."""
