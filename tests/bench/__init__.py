"""What smsd does per second, per text and per byte, on the machine that runs this."""
