"""What tests run against: real processes, on loopback, each ended by whoever started it."""
