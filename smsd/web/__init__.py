"""Messages in by HTTP. Rule: whatever a caller does costs a bounded amount, and is answered."""
