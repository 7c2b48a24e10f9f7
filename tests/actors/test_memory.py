"""The actors that take memory away: reclaimers with the swap device, and the hotplug operator."""

from __future__ import annotations

from collections.abc import Callable
from errno import EBUSY, EINVAL

import pytest

from ksmactors.events import catalogue as ev
from ksmactors.workload import BusError, Host, Process, Region

Perform = Callable[..., Host]


async def filled(host: Host, name: str, *, pages: int = 4, node: int = 0) -> tuple[Process, Region]:
    """A process whose pages all differ, and are on the LRU lists."""
    process = host.process(name, node=node)
    region = await process.map(pages)
    for page in range(pages):
        await process.write(region, page, 1 + page)
    await host.machine.kernel.lru_add_drain_all()
    return process, region


class TestReclaim:
    def test_who_comes_up(self, perform: Perform) -> None:
        """With the first request the swap device and a reclaimer for each node; without one, nobody."""

        async def play(host: Host) -> None:
            await host.reclaim(1)

        actors = perform(play).machine.conductor.actors[-3:]
        assert [(actor.name, actor.node, actor.daemon) for actor in actors] == [
            ("writeback", 0, True), ("kswapd/0", 0, True), ("kswapd/1", 1, True),
        ]  # fmt: skip

    def test_pages_of_one_node_are_reclaimed_on_request(self, perform: Perform) -> None:
        """As many as were asked for, of the node asked for; they can be read again, and a full pass frees all."""

        async def play(host: Host) -> None:
            a, region = await filled(host, "A", node=1)
            b, other = await filled(host, "B")
            assert await host.reclaim(1000, node=1) == 4
            assert [a.in_swap(region, page) for page in range(4)] == [True] * 4
            assert [a.node_of(region, 0), b.node_of(other, 0)] == [None, 0]
            contents = host.machine.kernel.contents
            assert [await a.read(region, page) for page in range(4)] == [contents.token(1 + page) for page in range(4)]

        assert perform(play).machine.trace.counts[ev.SWAP_READPAGE] == 4

    def test_under_pressure_pages_go_by_themselves(self, perform: Perform) -> None:
        """With reclaim_us a reclaimer does rounds of its own; what is in use lately stays at first."""

        async def play(host: Host) -> None:
            process, region = await filled(host, "A")
            await host.sleep(5000)
            assert all(process.in_swap(region, page) for page in range(4))

        perform(play, reclaim_us=50)

    def test_a_page_that_cannot_be_read_back_is_a_bus_error(self, perform: Perform) -> None:
        """For that page alone; given up, it can be used again."""

        async def play(host: Host) -> None:
            process, region = await filled(host, "A")
            assert not process.fail_swap_read(region, 0)
            await host.reclaim(1000)
            assert process.fail_swap_read(region, 0)
            with pytest.raises(BusError, match="A: 0x10000 cannot be read from swap"):
                await process.read(region, 0)
            await process.read(region, 1)
            await process.dontneed(region, 0, 1)
            await process.write(region, 0, 5)

        perform(play)

    def test_swapoff_brings_everything_back(self, perform: Perform) -> None:
        """Afterwards nothing is swapped out."""

        async def play(host: Host) -> None:
            process, region = await filled(host, "A")
            await host.reclaim(1000)
            assert await host.swapoff() == 0
            assert not any(process.in_swap(region, page) for page in range(4))

        perform(play)

    def test_a_page_that_swapoff_could_not_read_is_a_bus_error(self, perform: Perform) -> None:
        """Since v5.19 its entry says so, and an access does not begin again for ever."""

        async def play(host: Host) -> None:
            process, region = await filled(host, "A")
            await host.reclaim(1000)
            assert process.fail_swap_read(region, 0)
            assert await host.swapoff() == 0
            for access in (process.read(region, 0), process.write(region, 0, 5)):
                with pytest.raises(BusError, match="A: what was at 0x10000 is lost"):
                    await access
            await process.read(region, 1)
            await process.dontneed(region, 0, 1)
            await process.write(region, 0, 5)

        perform(play, kernel="v6.12")

    def test_madv_pageout_is_unknown_to_3_9(self, perform: Perform) -> None:
        """-EINVAL, and nothing happens."""

        async def play(host: Host) -> None:
            process, region = await filled(host, "A")
            assert await process.swapout(region) == -EINVAL
            assert process.node_of(region, 0) == 0

        perform(play)


class TestHotplug:
    def test_a_node_goes_and_comes_back(self, perform: Perform) -> None:
        """Its pages move, new ones come from elsewhere; when it is back, it is used again."""

        async def play(host: Host) -> None:
            process, region = await filled(host, "A", node=1)
            assert process.node_of(region, 0) == 1
            assert await host.offline(1) == 0
            assert [process.node_of(region, page) for page in range(4)] == [0] * 4
            other, more = await filled(host, "B", node=1)
            assert other.node_of(more, 0) == 0
            assert await host.online() == 0
            third, last = await filled(host, "C", node=1)
            assert third.node_of(last, 0) == 1

        assert [actor.name for actor in perform(play).machine.conductor.actors].count("hotplug") == 1

    def test_a_part_of_a_node_can_go(self, perform: Perform) -> None:
        """Of node 0, all but its first frame; a part that overlaps with what is away is refused."""

        async def play(host: Host) -> None:
            process, region = await filled(host, "A")
            assert await host.offline(0) == -EBUSY
            assert await host.offline(0, 1, 3) == 0
            assert await host.offline(0, 2, 1) == -EINVAL
            assert [process.node_of(region, page) for page in range(4)] == [1, 1, 1, 0]

        perform(play)

    def test_a_machine_with_one_node_moves_pages_within_it(self, perform: Perform) -> None:
        """The pages of a part go to the rest of the node."""

        async def play(host: Host) -> None:
            process, region = await filled(host, "A")
            assert await host.offline(0, 1, 64) == 0
            assert process.node_of(region, 0) == 0
            frame = host.machine.kernel.page_at(process.mm, region.address(0))
            assert frame is not None
            assert frame.frame.pfn > 64

        perform(play, nodes=1)
