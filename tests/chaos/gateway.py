"""What a gateway does to messages: plans for a whole run, and faults that pass."""

from collections.abc import Mapping

from tests.chaos.stage import Stage

PLANS: list[dict[str, float]] = [
    {"ok": 1},
    {"ok": 0.9, "429": 0.05, "503": 0.05},
    {"ok": 0.88, "500": 0.04, "garbage": 0.02, "half": 0.02, "reset": 0.03, "drop": 0.01},
    {"ok": 0.95, "hang": 0.01, "drop": 0.02, "refuse": 0.02},
    {"ok": 0.8, "503": 0.1, "drop": 0.05, "400": 0.05},
    {"ok": 0.9, "taken 503": 0.04, "forwarded 503": 0.03, "unreached 503": 0.03},
]


def lose_provider(stage: Stage) -> None:
    stage.recorder.stop()
    stage.pause(1.0)
    stage.recorder.start()


def take_and_deny(stage: Stage) -> None:
    """It takes messages and answers 503: all of them, or some for so long that it comes to the last
    attempt of one.
    """
    share = stage.chance.choice((0.5, 0.6, 1.0))
    _for_a_while(stage, {"taken 503": share, "ok": 1 - share}, 3.0 if share == 1.0 else 6.0)


def forward_and_fail(stage: Stage) -> None:
    """Envoy stands before it, and says whether the connection ended after the request."""
    _for_a_while(stage, {"forwarded 503": 0.2, "unreached 503": 0.3, "ok": 0.5})


def brown_out(stage: Stage) -> None:
    """It takes some, and has no room for the rest."""
    share = stage.chance.choice((0.5, 0.7))
    _for_a_while(stage, {"503": share, "ok": 1 - share})


def close_idle(stage: Stage) -> None:
    """It closes connections soon after an answer, and the close may cross the next request."""
    stage.recorder.behave(
        keep_alive=stage.chance.uniform(0.1, 0.5) * stage.chance.choice((1, 1, 3)),
        announced=stage.chance.random() < 0.5,
        close_takes=stage.chance.choice((0.0, 0.02, 0.1)),
    )
    stage.pause(3.0)
    stage.recorder.behave(keep_alive=0)


def _for_a_while(stage: Stage, plan: Mapping[str, float], longest: float = 3.0) -> None:
    stage.recorder.behave(plan=plan)
    stage.pause(longest)
    stage.recorder.behave(plan=stage.recorder.plan)
