"""smsd: texts in over HTTP or Redis Streams, out to a carrier at exactly the bought rate."""
