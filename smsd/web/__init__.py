"""Texts in by HTTP. Rule: whatever a caller does, it is bounded, and answered in words."""
