"""Any HTTP gateway. Rule: what is asked and how an answer is read is configuration alone."""
