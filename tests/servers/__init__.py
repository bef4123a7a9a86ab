"""The tests that need a server, against every server that smsd supports and can be had."""
