"""The tables of a message's life. Rule: they agree with each other and name what exists."""

from importlib import resources

from smsd.core.life import (
    COUNTERS,
    EFFECTS,
    FINISHED,
    SETTLED_AGAIN,
    TRANSITIONS,
    Event,
    State,
)


def test_every_event_changes_some_state_and_says_how_it_is_made() -> None:
    in_table = {event for row in TRANSITIONS.values() for event in row}
    assert in_table == set(Event) == set(EFFECTS)


def test_every_state_can_be_reached_from_the_beginning() -> None:
    reached: set[State | None] = {None}
    while (
        more := {state for before in reached for state in TRANSITIONS.get(before, {}).values()}
        - reached
    ):
        reached |= more
    assert reached == {None, *State}


def test_a_message_that_is_not_over_can_end() -> None:
    for state in TRANSITIONS:
        row = TRANSITIONS[state].values()
        assert set(row) & set(FINISHED) or state is None, state


def test_what_has_ended_is_counted_under_its_own_name() -> None:
    assert FINISHED == (
        State.SENT,
        State.EXPIRED,
        State.SUPPRESSED,
        State.CANCELLED,
        State.DUPLICATE,
        State.DROPPED,
    )
    for row in TRANSITIONS.values():
        for event, after in row.items():
            assert after not in FINISHED or EFFECTS[event].counter == after, event


def test_what_is_settled_again_is_an_event_of_a_first_settlement() -> None:
    settled = TRANSITIONS[State.QUEUED]
    for row in SETTLED_AGAIN.values():
        assert row.items() <= settled.items()


def test_every_script_that_is_named_exists() -> None:
    folder = resources.files("smsd.store").joinpath("lua")
    for effect in EFFECTS.values():
        for script in effect.scripts:
            assert folder.joinpath(f"{script}.lua").is_file()


def test_every_counter_is_known_by_one_name() -> None:
    assert len(COUNTERS) == len(set(COUNTERS))
    assert set(COUNTERS) >= set(FINISHED)
