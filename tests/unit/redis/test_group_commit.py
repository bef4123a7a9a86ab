"""Group commit. Rule: whoever asks is answered once, whatever happens to the others."""

import asyncio
import gc
from collections.abc import Awaitable, Callable, Sequence

import pytest

from smsd.redis.group_commit import Full, GroupCommit

SOON_S = 20.0  # no answer by then is none


class Executor:
    """Notes each group; doubles what it is given, once `door` is open."""

    def __init__(self) -> None:
        self.groups: list[list[int]] = []
        self.door = asyncio.Event()
        self.door.set()

    async def __call__(self, requests: Sequence[int]) -> list[int | Exception]:
        self.groups.append(list(requests))
        await self.door.wait()
        return [2 * request for request in requests]


def commit_over(
    execute: Callable[[Sequence[int]], Awaitable[Sequence[int | Exception]]],
    *,
    most_together: int = 10,
    most_waiting: int = 1000,
    longest_wait_s: float = SOON_S,
) -> GroupCommit[int, int]:
    return GroupCommit(
        execute,
        most_together=most_together,
        most_waiting=most_waiting,
        longest_wait_s=longest_wait_s,
    )


async def soon(*calls: Awaitable[int]) -> list[int | BaseException]:
    async with asyncio.timeout(SOON_S):
        return await asyncio.gather(*calls, return_exceptions=True)


async def turn() -> None:
    """Let everything run that can."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_a_single_call_is_answered() -> None:
    execute = Executor()
    assert await commit_over(execute)(21) == 42
    assert execute.groups == [[21]]


async def test_the_first_leaves_at_once_and_those_behind_it_leave_together() -> None:
    execute = Executor()
    execute.door.clear()
    commit = commit_over(execute)
    first = commit(0)
    await turn()
    assert execute.groups == [[0]]
    rest = [commit(n) for n in range(1, 6)]
    await turn()
    assert execute.groups == [[0]]
    execute.door.set()
    assert await soon(first, *rest) == [0, 2, 4, 6, 8, 10]
    assert execute.groups == [[0], [1, 2, 3, 4, 5]]


async def test_calls_of_one_moment_share_groups_in_their_order() -> None:
    execute = Executor()
    commit = commit_over(execute, most_together=10)
    assert await soon(*(commit(n) for n in range(200))) == [2 * n for n in range(200)]
    assert [n for group in execute.groups for n in group] == list(range(200))
    assert len(execute.groups) <= 21


async def test_no_group_is_larger_than_it_may_be() -> None:
    execute = Executor()
    commit = commit_over(execute, most_together=3)
    await soon(*(commit(n) for n in range(20)))
    assert max(len(group) for group in execute.groups) <= 3


async def test_no_more_wait_than_may_and_who_is_refused_disturbs_nobody() -> None:
    execute = Executor()
    execute.door.clear()
    commit = commit_over(execute, most_waiting=4)
    first = commit(0)
    await turn()
    waiting = [commit(n) for n in range(1, 5)]
    await turn()
    with pytest.raises(Full):
        await commit(5)
    execute.door.set()
    assert await soon(first, *waiting) == [0, 2, 4, 6, 8]
    assert await commit(6) == 12  # there is room again


async def test_who_has_waited_too_long_in_line_is_refused_and_not_carried_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 0.0
    monkeypatch.setattr(asyncio.get_running_loop(), "time", lambda: now)
    execute = Executor()
    execute.door.clear()
    commit = commit_over(execute, longest_wait_s=2.0)
    first = commit(0)
    await turn()
    late = [commit(n) for n in (1, 2)]
    now = 2.1
    fresh = commit(3)
    await turn()
    execute.door.set()
    answers = await soon(first, *late, fresh)
    assert [answers[0], answers[3]] == [0, 6]
    assert all(isinstance(answer, Full) for answer in answers[1:3])
    assert execute.groups == [[0], [3]]  # (0 had left, however long it took)
    assert await commit(4) == 8


async def test_calls_of_the_same_turn_of_the_loop_leave_with_the_first() -> None:
    execute = Executor()
    commit = commit_over(execute)
    assert await soon(*(commit(n) for n in range(5))) == [0, 2, 4, 6, 8]
    assert execute.groups == [[0, 1, 2, 3, 4]]


async def test_an_error_is_that_of_one_caller() -> None:
    async def execute(requests: Sequence[int]) -> list[int | Exception]:
        return [ValueError(str(n)) if n % 3 == 0 else n for n in requests]

    commit = commit_over(execute)
    answers = await soon(*(commit(n) for n in range(20)))
    for n, answer in enumerate(answers):
        if n % 3 == 0:
            assert isinstance(answer, ValueError)
            assert str(answer) == str(n)
        else:
            assert answer == n


async def test_an_exception_is_for_all_of_the_group_and_for_nobody_else() -> None:
    async def execute(requests: Sequence[int]) -> list[int | Exception]:
        if 0 in requests:
            raise ConnectionError("gone")
        return list(requests)

    commit = commit_over(execute, most_together=5)
    answers = await soon(*(commit(n) for n in range(20)))
    failed = [n for n, answer in enumerate(answers) if isinstance(answer, ConnectionError)]
    assert failed == list(range(len(failed)))
    assert 1 <= len(failed) <= 5
    assert answers[len(failed) :] == list(range(len(failed), 20))
    assert await commit(7) == 7


async def test_a_caller_that_gives_up_while_waiting_does_not_disturb_the_rest() -> None:
    execute = Executor()
    execute.door.clear()
    commit = commit_over(execute)
    tasks = [commit(n) for n in range(6)]
    await turn()
    tasks[3].cancel()
    await turn()
    execute.door.set()
    answers = await soon(*tasks)
    assert isinstance(answers.pop(3), asyncio.CancelledError)
    assert answers == [0, 2, 4, 8, 10]


async def test_a_caller_that_gives_up_while_under_way_does_not_disturb_the_rest() -> None:
    execute = Executor()
    execute.door.clear()
    commit = commit_over(execute)
    first = commit(1)
    await turn()
    assert execute.groups == [[1]]
    first.cancel()
    second = commit(2)
    await turn()
    execute.door.set()
    assert await soon(second) == [4]
    assert isinstance((await soon(first))[0], asyncio.CancelledError)


async def test_what_a_caller_asked_for_before_he_went_is_carried_out_where_it_is_a_fact() -> None:
    execute = Executor()
    execute.door.clear()
    commit = GroupCommit(execute, most_together=10, most_waiting=100, outlives_caller=True)
    tasks = [commit(n) for n in range(3)]
    await turn()
    late = commit(3)
    await turn()
    for task in (*tasks, late):
        task.cancel()
    await turn()
    execute.door.set()
    assert await soon(commit(4)) == [8]
    assert execute.groups == [[0, 1, 2], [3, 4]]  # in their order
    assert all(task.cancelled() for task in (*tasks, late))


def test_a_line_that_stands_still_does_not_keep_the_process_from_ending() -> None:
    async def leave() -> asyncio.Task[list[int | BaseException]]:
        execute = Executor()
        execute.door.clear()
        commit = GroupCommit(execute, most_together=1, most_waiting=100, outlives_caller=True)
        tasks = [asyncio.create_task(soon(commit(n))) for n in range(3)]
        await turn()
        tasks[2].cancel()
        return tasks[1]  # as the rest is, it is cancelled by the loop's end

    assert asyncio.run(leave()).cancelled()


async def test_the_error_of_a_caller_that_has_gone_is_nobodys() -> None:
    door = asyncio.Event()

    async def execute(requests: Sequence[int]) -> list[int | Exception]:
        await door.wait()
        return [ValueError() for _ in requests]

    commit = commit_over(execute)
    task = commit(1)
    await turn()
    task.cancel()
    await turn()
    door.set()
    await turn()
    gc.collect()  # an exception that nobody fetched would be reported here
    assert task.cancelled()


@pytest.mark.parametrize("surplus", [-3, -1, 1, 5])
async def test_a_wrong_number_of_replies_is_an_error_for_all_and_no_hang(surplus: int) -> None:
    async def execute(requests: Sequence[int]) -> list[int | Exception]:
        return [0] * (len(requests) + surplus)

    commit = commit_over(execute, most_together=5)
    answers = await soon(*(commit(n) for n in range(20)))
    assert all(isinstance(answer, Exception) for answer in answers)
    gc.collect()


async def test_work_goes_on_after_a_wrong_number_of_replies() -> None:
    async def execute(requests: Sequence[int]) -> list[int | Exception]:
        return [] if 0 in requests else list(requests)

    commit = commit_over(execute, most_together=5)
    await soon(commit(0))
    assert await soon(commit(1), commit(2)) == [1, 2]


async def test_two_of_them_do_not_wait_for_each_other() -> None:
    stuck, free = Executor(), Executor()
    stuck.door.clear()
    one, other = commit_over(stuck), commit_over(free)
    hanging = one(1)
    assert await soon(other(2)) == [4]
    stuck.door.set()
    assert await soon(hanging) == [2]


async def test_whoever_is_answered_may_ask_again_at_once() -> None:
    execute = Executor()
    commit = commit_over(execute)

    async def chain(n: int) -> int:
        for _ in range(5):
            n = await commit(n)
        return n

    assert await soon(*(chain(n) for n in range(10))) == [32 * n for n in range(10)]


async def test_a_group_is_bounded_by_weight_and_a_heavy_request_goes_alone() -> None:
    groups: list[list[int]] = []

    async def execute(requests: Sequence[int]) -> Sequence[int]:
        groups.append(list(requests))
        await asyncio.sleep(0)
        return requests

    commit = GroupCommit(execute, most_together=10, most_waiting=100, weigh=lambda weight: weight)
    requests = [1, 4, 4, 3, 1000, 10, 1]
    assert await asyncio.gather(*map(commit, requests)) == requests
    assert groups == [[1, 4, 4], [3], [1000], [10], [1]]
