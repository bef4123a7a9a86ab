"""All metrics, declared once. Rule: a label takes few values: no number, id or text."""

from collections.abc import Callable
from functools import cache

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest


class Metrics:
    """What `/metrics` shows."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        registry = self.registry
        outcomes = Counter(
            "smsd_outcomes", "What providers answered", ["outcome"], registry=registry
        )
        settled = Counter(
            "smsd_messages_settled", "What became of attempts", ["verdict"], registry=registry
        )
        self.segments_started = Counter(
            "smsd_segments_started", "Segments handed to the provider", registry=registry
        )
        self.segments_differ = Counter(
            "smsd_segments_differ",
            "Texts whose segments the provider counts otherwise",
            registry=registry,
        )
        self.pace_target = Gauge(
            "smsd_pace_target_segments_per_second", "The configured rate", registry=registry
        )
        self.window_segments = Gauge(
            "smsd_pace_window_segments", "Segment instants in the last second", registry=registry
        )
        self.window_worst = Gauge(
            "smsd_pace_window_worst_segments",
            "Most segment instants in any second",
            registry=registry,
        )
        self.late_seconds = Histogram(
            "smsd_start_late_seconds",
            "How late messages left, by their slot",
            buckets=(5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 0.01, 0.02, 0.05, 0.1),
            registry=registry,
        )
        self.submit_seconds = Histogram(
            "smsd_submit_seconds",
            "From preparing a submission to its outcome",
            buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
            registry=registry,
        )
        self.in_flight = Gauge("smsd_in_flight", "Submissions under way", registry=registry)
        self.texts = Gauge(
            "smsd_texts", "Texts by place, as last counted", ["place"], registry=registry
        )
        self.difference = Gauge(
            "smsd_texts_difference", "Accepted texts that are in no known place", registry=registry
        )
        self.redis_up = Gauge("smsd_redis_up", "Whether Redis answers", registry=registry)
        self.redis_lost = Counter(
            "smsd_redis_lost", "What Redis had answered and then lost", ["what"], registry=registry
        )
        self.held = Gauge("smsd_dispatch_held", "Whether dispatch is held", registry=registry)
        self.leader = Gauge(
            "smsd_lease_held", "Whether this daemon may dispatch", registry=registry
        )
        # A label is looked up once, not at every message.
        self.outcome: Callable[[str], Counter] = cache(outcomes.labels)
        self.settled: Callable[[str], Counter] = cache(settled.labels)
        self._worst = 0

    def window(self, segments: int) -> None:
        """Note how many segment instants the last second holds."""
        self.window_segments.set(segments)
        if segments > self._worst:
            self._worst = segments
            self.window_worst.set(segments)

    def render(self) -> bytes:
        """The Prometheus text format."""
        return generate_latest(self.registry)
