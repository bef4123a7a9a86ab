"""Any HTTP gateway. Rule: the request, and how its answer is read, is configuration alone."""
