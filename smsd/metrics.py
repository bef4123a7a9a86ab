"""All metrics, declared once. Rule: a label takes few values: no phone number, id or body.

They are plain numbers, which become Prometheus metrics when they are asked for: the locks of
Prometheus' own counters would cost a tenth of what a send costs.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import accumulate

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)

from smsd import __version__

_LATE_S = (5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 0.01, 0.02, 0.05, 0.1)
_SUBMIT_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class Distribution:
    """Counts durations by upper bounds in seconds."""

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def observe(self, seconds: float) -> None:
        """Count one duration."""
        self._counts[bisect_left(self._bounds, seconds)] += 1
        self._sum += seconds

    def family(self, name: str, help_text: str) -> Metric:
        """A Prometheus histogram: each bucket counts what is in it or in a lower one."""
        names = [*(str(float(bound)) for bound in self._bounds), "+Inf"]
        buckets = list(zip(names, accumulate(self._counts), strict=True))
        return HistogramMetricFamily(name, help_text, buckets=buckets, sum_value=self._sum)


class Metrics:
    """What `/metrics` shows."""

    def __init__(self) -> None:
        self.outcomes: Counter[str] = Counter()  # by the provider's answer
        self.settled: Counter[str] = Counter()  # by verdict
        self.segments_started = 0
        self.segments_differ = 0
        self.pace_target = 0.0
        self.window_segments: Callable[[], int] = lambda: 0
        self.window_worst = 0
        self.late_seconds = Distribution(_LATE_S)
        self.submit_seconds = Distribution(_SUBMIT_S)
        self.in_flight = 0
        self.campaigns_active = 0
        self.recipients_expanded = 0
        self.messages: dict[str, int] = {}  # by place
        self.difference = 0
        self.stuck = 0
        self.redis_up = False
        self.damaged_keys = 0
        self.redis_lost: Counter[str] = Counter()  # by what it was
        self.held = False
        self.share: Callable[[], float] = lambda: 1.0
        self.leader = False
        self.registry = CollectorRegistry()
        self.registry.register(self)

    def render(self) -> bytes:
        """The Prometheus text format."""
        return generate_latest(self.registry)

    def collect(self) -> Iterator[Metric]:
        """Yield every metric, as the registry asks for them."""
        yield InfoMetricFamily("smsd_build", "What runs here", {"version": __version__})
        yield from self._of_submissions()
        yield from self._of_the_pace()
        yield from self._of_messages()
        yield from self._of_campaigns()
        yield from self._of_redis()
        yield from self._of_dispatch()

    def _of_submissions(self) -> Iterator[Metric]:
        yield _counts("smsd_outcomes", "What providers answered", "outcome", self.outcomes)
        yield _counts("smsd_messages_settled", "What became of attempts", "verdict", self.settled)
        yield CounterMetricFamily("smsd_segments_started", "Segments sent", self.segments_started)
        yield CounterMetricFamily(
            "smsd_segments_differ",
            "Messages whose segments the provider counts differently",
            self.segments_differ,
        )
        yield GaugeMetricFamily("smsd_in_flight", "Submissions in flight", self.in_flight)
        yield self.submit_seconds.family(
            "smsd_submit_seconds", "From preparing a submission to its outcome"
        )

    def _of_the_pace(self) -> Iterator[Metric]:
        yield GaugeMetricFamily(
            "smsd_pace_target_segments_per_second", "The configured rate", self.pace_target
        )
        yield GaugeMetricFamily(
            "smsd_pace_window_segments",
            "Segment instants in the last second",
            self.window_segments(),
        )
        yield GaugeMetricFamily(
            "smsd_pace_window_worst_segments",
            "Most segment instants in any second",
            self.window_worst,
        )
        yield self.late_seconds.family(
            "smsd_start_late_seconds", "How late messages left, by their slot"
        )

    def _of_messages(self) -> Iterator[Metric]:
        family = GaugeMetricFamily(
            "smsd_messages", "Messages by place, as last counted", labels=["place"]
        )
        for place, number in self.messages.items():
            family.add_metric([place], number)
        yield family
        yield GaugeMetricFamily(
            "smsd_messages_difference",
            "Accepted messages that are in no known place",
            self.difference,
        )
        yield GaugeMetricFamily(
            "smsd_messages_stuck", "Deferred messages that nothing would send", self.stuck
        )

    def _of_campaigns(self) -> Iterator[Metric]:
        yield GaugeMetricFamily(
            "smsd_campaigns_active",
            "Campaigns with recipients that are not settled, on the daemon that dispatches",
            self.campaigns_active if self.leader else 0,
        )
        yield CounterMetricFamily(
            "smsd_recipients_expanded",
            "Recipients of campaigns whose messages were put in line",
            self.recipients_expanded,
        )

    def _of_redis(self) -> Iterator[Metric]:
        yield GaugeMetricFamily("smsd_redis_up", "Whether Redis answers", self.redis_up)
        yield GaugeMetricFamily(
            "smsd_redis_damaged_keys", "Keys with foreign values", self.damaged_keys
        )
        yield _counts("smsd_redis_lost", "Writes that Redis lost", "what", self.redis_lost)

    def _of_dispatch(self) -> Iterator[Metric]:
        yield GaugeMetricFamily("smsd_lease_held", "Whether this daemon may dispatch", self.leader)
        yield GaugeMetricFamily(
            "smsd_dispatch_held", "Whether dispatch is held", self.held and self.leader
        )
        yield GaugeMetricFamily(
            "smsd_dispatch_share",
            "The part of the rate that may be sent, less than 1 while dispatch is held",
            self.share(),
        )


def _counts(name: str, help_text: str, label: str, counts: Mapping[str, int]) -> Metric:
    family = CounterMetricFamily(name, help_text, labels=[label])
    for value, count in counts.items():
        family.add_metric([value], count)
    return family
