"""What a message is and what becomes of it. Rule: pure: no clock, no chance, no loop, no I/O."""
