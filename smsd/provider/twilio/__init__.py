"""Twilio's Programmable Messaging. Rule: what its documentation says stands in tables."""
