"""The kernel's locks and the mailboxes: who waits for whom, and what is refused."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ksmactors.errors import Finding
from ksmactors.interleave.actor import Actor
from ksmactors.interleave.conductor import Conductor
from ksmactors.interleave.locks import Mutex, RwSem, SpinLock, WaitQueue
from ksmactors.interleave.mailbox import Mailbox, PendingCall, call

Perform = Callable[..., Conductor]
STRATEGIES = ["round_robin", "random", "pos", "pct"]


@pytest.mark.parametrize("kind", [Mutex, SpinLock])
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_one_at_a_time(perform: Perform, kind: type[Mutex | SpinLock], strategy: str) -> None:
    """Between lock and unlock of a mutex or spinlock nobody else is, under any strategy."""

    async def play(conductor: Conductor) -> None:
        lock = kind(conductor, "lock")
        inside: list[int] = []

        async def work(number: int) -> None:
            for _ in range(3):
                await lock.lock()
                inside.append(number)
                await conductor.point(1, inside)
                assert inside == [number]
                inside.remove(number)
                await lock.unlock()

        for number in range(3):
            conductor.spawn(f"w{number}", work(number))

    for seed in range(10):
        conductor = perform(play, seed=seed, strategy=strategy)
        assert all(not actor.held and actor.spin_depth == 0 for actor in conductor.actors)


def test_contention_is_told(perform: Perform) -> None:
    """Who finds a lock taken is reported with the lock and its holder."""
    told: list[tuple[str, str]] = []

    def listen(lock: object, waiter: Actor, owner: Actor | None) -> None:
        assert owner is not None
        told.append((waiter.name, owner.name))

    async def play(conductor: Conductor) -> None:
        conductor.contention = listen
        lock = Mutex(conductor, "lock")

        async def work() -> None:
            await lock.lock()
            await conductor.sleep(1_000)
            await lock.unlock()

        conductor.spawn("one", work())
        conductor.spawn("two", work())

    perform(play)

    assert told == [("two", "one")]


@pytest.mark.parametrize("kind", [Mutex, SpinLock])
def test_unlock_by_another(perform: Perform, kind: type[Mutex | SpinLock]) -> None:
    """Who unlocks what another holds is reported, with the function that does it and the name of the holder."""

    async def careless(conductor: Conductor) -> None:
        lock = kind(conductor, "L")
        conductor.spawn("owner", lock.lock())
        await conductor.sleep(10_000)
        conductor.turn.held.append(lock)
        await lock.unlock()

    with pytest.raises(Finding, match="main releases L held by owner") as caught:
        perform(careless)
    assert caught.value.signature == "lock_order/released_by_another@careless"


@pytest.mark.parametrize("kind", [Mutex, SpinLock])
def test_unlock_of_a_free_one(perform: Perform, kind: type[Mutex | SpinLock]) -> None:
    """Who unlocks what nobody holds is reported, too."""

    async def careless(conductor: Conductor) -> None:
        lock = kind(conductor, "L")
        await lock.lock()
        await lock.unlock()
        conductor.turn.held.append(lock)
        await lock.unlock()

    with pytest.raises(Finding, match="main releases L, which is free") as caught:
        perform(careless)
    assert caught.value.signature == "lock_order/released_by_another@careless"


def test_sleeping_under_a_spinlock(perform: Perform) -> None:
    """Who sleeps while it holds a spinlock is reported, with the function that does it."""

    async def careless(conductor: Conductor) -> None:
        lock = SpinLock(conductor, "anon_vma->lock")
        await lock.lock()
        await conductor.sleep(1_000)

    with pytest.raises(Finding, match="main may have to sleep on its alarm while it holds a spinlock") as caught:
        perform(careless)
    assert caught.value.signature == "lock_order/sleeping_under_spinlock@careless"


def test_a_mutex_under_a_spinlock(perform: Perform) -> None:
    """A mutex taken under a spinlock may sleep, even if it is free; a contended spinlock does not."""

    async def play(conductor: Conductor) -> None:
        mutex, outer = Mutex(conductor, "mutex"), SpinLock(conductor, "outer")
        inner = SpinLock(conductor, "inner")
        await inner.lock()

        async def spins() -> None:
            await outer.lock()
            await inner.lock()
            await inner.unlock()
            await outer.unlock()

        conductor.spawn("spins", spins())
        await conductor.relax()
        await conductor.relax()
        await inner.unlock()
        await conductor.relax()
        await conductor.relax()
        await outer.lock()
        await mutex.lock()

    with pytest.raises(Finding, match="main may have to sleep on mutex while it holds a spinlock"):
        perform(play)


class TestRwSem:
    def test_readers_share(self, perform: Perform) -> None:
        """Two readers are inside together."""

        async def play(conductor: Conductor) -> None:
            sem = RwSem(conductor, "mmap_sem")

            async def read() -> None:
                await sem.down_read()
                await conductor.sleep(10_000)
                assert len(sem.readers) == 2
                await conductor.sleep(10_000)
                await sem.up_read()

            conductor.spawn("r1", read())
            conductor.spawn("r2", read())

        perform(play)

    def test_a_reader_waits_behind_a_queued_writer(self, perform: Perform) -> None:
        """A reader that comes after a waiting writer gets in after it, although readers are inside."""
        order: list[str] = []

        async def play(conductor: Conductor) -> None:
            sem = RwSem(conductor, "mmap_sem")

            async def read(name: str, at: int) -> None:
                await conductor.sleep(at)
                await sem.down_read()
                order.append(name)
                await conductor.sleep(100_000)
                await sem.up_read()

            async def write(at: int) -> None:
                await conductor.sleep(at)
                await sem.down_write()
                order.append("writer")
                await sem.up_write()

            conductor.spawn("r1", read("first", 10_000))
            conductor.spawn("w", write(20_000))
            conductor.spawn("r2", read("second", 30_000))
            conductor.spawn("r3", read("third", 40_000))

        perform(play)

        assert order[:2] == ["first", "writer"]
        assert sorted(order[2:]) == ["second", "third"]

    @pytest.mark.parametrize("strategy", STRATEGIES)
    def test_a_writer_is_alone(self, perform: Perform, strategy: str) -> None:
        """A writer excludes readers and other writers, under any strategy."""

        async def play(conductor: Conductor) -> None:
            sem = RwSem(conductor, "sem")
            readers: list[int] = []
            writers: list[int] = []

            async def read(number: int) -> None:
                await sem.down_read()
                readers.append(number)
                await conductor.point(0, sem, "x")
                assert not writers
                readers.remove(number)
                await sem.up_read()

            async def write(number: int) -> None:
                await sem.down_write()
                writers.append(number)
                await conductor.point(1, sem, "x")
                assert writers == [number]
                assert not readers
                writers.remove(number)
                await sem.up_write()

            for number in range(3):
                conductor.spawn(f"r{number}", read(number))
                conductor.spawn(f"w{number}", write(number))

        for seed in range(10):
            perform(play, seed=seed, strategy=strategy)

    def test_a_reader_that_reads_again_behind_a_writer(self, perform: Perform) -> None:
        """Taking the read side twice with a writer between is a deadlock, and names both."""

        async def play(conductor: Conductor) -> None:
            sem = RwSem(conductor, "mmap_sem")
            await sem.down_read()
            conductor.spawn("writer", sem.down_write())
            await conductor.sleep(10_000)
            await sem.down_read()

        with pytest.raises(Finding, match="main waits for mmap_sem held by main"):
            perform(play)

    def test_giving_back_what_is_not_held(self, perform: Perform) -> None:
        """Who releases a semaphore in another way than it holds it is reported."""

        async def read_as_write(conductor: Conductor) -> None:
            sem = RwSem(conductor, "sem")
            await sem.down_read()
            await sem.up_write()

        async def write_as_read(conductor: Conductor) -> None:
            sem = RwSem(conductor, "sem")
            await sem.down_write()
            await sem.up_read()

        for careless in (read_as_write, write_as_read):
            with pytest.raises(Finding, match="main releases sem held by main") as caught:
                perform(careless)
            assert caught.value.signature == f"lock_order/released_by_another@{careless.__name__}"


class TestMailbox:
    def test_first_in_first_out(self, perform: Perform) -> None:
        """Messages come out in the order in which they went in; who finds none waits."""
        got: list[int] = []

        async def play(conductor: Conductor) -> None:
            box: Mailbox[int] = Mailbox(conductor, "box")

            async def receive() -> None:
                while len(got) < 5:
                    got.append(await box.receive())

            conductor.spawn("receiver", receive())
            await conductor.sleep(10_000)
            for number in range(5):
                await box.send(number)

        perform(play)

        assert got == [0, 1, 2, 3, 4]

    @pytest.mark.parametrize("strategy", STRATEGIES)
    def test_two_who_share_the_work(self, perform: Perform, strategy: str) -> None:
        """With two receivers each message is received once, under any strategy."""
        got: list[int] = []

        async def play(conductor: Conductor) -> None:
            box: Mailbox[int] = Mailbox(conductor, "box")

            async def receive() -> None:
                while True:
                    got.append(await box.receive())

            for name in ("one", "two"):
                conductor.spawn(name, receive(), daemon=True)
            for number in range(6):
                await box.send(number)
            await conductor.sleep(1_000_000)

        for seed in range(10):
            got.clear()
            perform(play, seed=seed, strategy=strategy)
            assert sorted(got) == [0, 1, 2, 3, 4, 5]

    @pytest.mark.parametrize("strategy", STRATEGIES)
    def test_a_call_waits_for_its_answer(self, perform: Perform, strategy: str) -> None:
        """A call returns the answer to this request, whoever else asks meanwhile."""

        async def play(conductor: Conductor) -> None:
            box: Mailbox[PendingCall] = Mailbox(conductor, "server")

            async def serve() -> None:
                while True:
                    request = await box.receive()
                    await conductor.relax()
                    request.reply(request.what * 2)

            async def ask(number: int) -> None:
                assert await call(box, number) == number * 2

            conductor.spawn("server", serve(), daemon=True)
            for number in range(3):
                conductor.spawn(f"asks{number}", ask(number))

        for seed in range(10):
            perform(play, seed=seed, strategy=strategy)

    def test_wake_all(self, perform: Perform) -> None:
        """Waking a wait queue makes everybody ready who waits there, once."""
        woken: list[int] = []

        async def play(conductor: Conductor) -> None:
            queue = WaitQueue(conductor, "queue")

            async def wait(number: int) -> None:
                await queue.wait()
                woken.append(number)

            for number in range(3):
                conductor.spawn(f"w{number}", wait(number))
            await conductor.sleep(10_000)
            queue.wake_all()
            queue.wake_all()

        perform(play)

        assert sorted(woken) == [0, 1, 2]
