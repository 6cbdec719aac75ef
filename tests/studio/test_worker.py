"""The queue: one job at a time, places in line, cancelled jobs, faults."""

import asyncio
import threading

import pytest

from got_r1.errors import BadInput
from got_r1.studio.worker import Busy, Event, Job, Worker
from studio.serving import make_model  # noqa: F401  (skips where the extra is missing)


async def read(job: Job) -> list[Event]:
    return [event async for event in job.events()]


def test_jobs_run_one_after_the_other_and_know_their_place() -> None:
    gate, order = threading.Event(), []

    def work(name: str) -> Event:
        order.append(name)
        return {"name": name}

    def first(job: Job) -> Event:
        gate.wait(60)
        return work("a")

    async def scenario() -> list[list[Event]]:
        worker = Worker()
        jobs = [worker.submit(first), *(worker.submit(lambda _, n=n: work(n)) for n in "bc")]
        while not jobs[0]._events.qsize() >= 2:  # it runs
            await asyncio.sleep(0.01)
        gate.set()
        found = [await read(job) for job in jobs]
        worker.close()
        return found

    found = asyncio.run(scenario())
    assert order == ["a", "b", "c"]
    assert [events[-1] for events in found] == [{"kind": "done", "name": n} for n in "abc"]
    places = [[event["place"] for event in events[:-1]] for events in found]
    assert all(one == sorted(one, reverse=True) and one[-1] == 0 for one in places)
    assert places[2][0] >= 2


def test_a_job_whose_reader_has_left_does_not_run() -> None:
    gate, ran = threading.Event(), []

    async def scenario() -> None:
        worker = Worker()
        blocker = worker.submit(lambda _: {"waited": gate.wait(60)})
        left = worker.submit(lambda _: {"ran": ran.append("left")})
        async for _ in left.events():
            break  # as a closed tab does
        left.cancelled.set()
        gate.set()
        await read(blocker)
        await read(worker.submit(lambda _: {"ran": ran.append("next")}))
        worker.close()

    asyncio.run(scenario())
    assert ran == ["next"]


def test_a_running_job_stops_at_its_next_report() -> None:
    reports = []

    def endless(job: Job) -> Event:
        while True:
            job.emit("progress")
            reports.append(1)

    async def scenario() -> None:
        worker = Worker()
        job = worker.submit(endless)
        async for event in job.events():
            if event["kind"] == "progress":
                break
        job.cancelled.set()
        assert (await read(worker.submit(lambda _: {})))[-1] == {"kind": "done"}
        worker.close()

    asyncio.run(scenario())
    assert reports


@pytest.mark.parametrize(
    ("error", "said"),
    [(BadInput("no such thing."), "no such thing."), (ZeroDivisionError("x"), "something went")],
)
def test_a_fault_ends_the_job_and_not_the_worker(error: Exception, said: str) -> None:
    def fail(_: Job) -> Event:
        raise error

    async def scenario() -> list[Event]:
        worker = Worker()
        found = await read(worker.submit(fail))
        assert (await read(worker.submit(lambda _: {})))[-1] == {"kind": "done"}
        worker.close()
        return found

    last = asyncio.run(scenario())[-1]
    assert last["kind"] == "failed"
    assert last["message"].startswith(said)


def test_a_full_queue_refuses() -> None:
    gate = threading.Event()

    async def scenario() -> None:
        worker = Worker(most=2)
        jobs = [worker.submit(lambda _: {"waited": gate.wait(60)})]
        while not jobs[0]._events.qsize() >= 2:  # it runs
            await asyncio.sleep(0.01)
        jobs += [worker.submit(lambda _: {}) for _ in range(2)]
        with pytest.raises(Busy):
            worker.submit(lambda _: {})
        gate.set()
        for job in jobs:
            await read(job)
        worker.close()

    asyncio.run(scenario())
