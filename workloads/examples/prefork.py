"""The second example: a server that forks its workers. It handles what can fail, and makes promises of its own."""

from __future__ import annotations

from typing_extensions import override

from ksmactors.workload import PAGE_SIZE, Field, Host, Int, PluginEvent, Process, ProcessExited, Region, Workload

SERVED = PluginEvent(
    "prefork.served",
    "A worker has answered a request.",
    Field("worker", "int", "", "number of the worker, in order of its fork"),
    Field("session", "int", "pages", "index of the page with the session"),
)


class Prefork(Workload):
    """A server loads its data, forks workers that answer requests, and replaces each worker after some of them.

    The data is mergeable and never changes: what a fork shares stays shared. Sessions change with each request. A
    worker that exits gives its copies back; its successor begins with the server's.
    """

    name = "prefork"
    events = (SERVED,)

    workers = Int(2, "workers at a time", low=1, high=32)
    generations = Int(2, "workers, one after another, in each place", low=1, high=100)
    requests = Int(3, "requests that a worker answers before it exits")
    data = Int(4, "pages of data, each equal to another one", low=1, high=1000)
    sessions = Int(2, "pages of sessions", low=1, high=1000)

    @override
    async def run(self, host: Host) -> None:
        host.process("server").spawn(self.serve, host)

    async def serve(self, server: Process, host: Host) -> None:
        """The server: loads, then keeps each of its places filled, by one thread for each."""
        region = await server.map(self.data + self.sessions)
        await server.mergeable(region)
        for page in range(self.data):
            await server.write(region, page, filled(1 + page // 2))
        for place in range(self.workers):
            server.spawn(self.keep_filled, host, region, place)

    async def keep_filled(self, server: Process, host: Host, region: Region, place: int) -> None:
        """One place after another generation of workers."""
        for generation in range(self.generations):
            number = place + generation * self.workers
            worker = await server.fork(f"worker{number}")
            if isinstance(worker, int):  # a negative errno: no memory. A server that cannot fork goes on without.
                host.mark("no worker")
                continue
            await worker.spawn(self.answer, host, region, number).join()
            await worker.exit()

    async def answer(self, worker: Process, host: Host, region: Region, number: int) -> None:
        """A worker: reads the data, writes the session."""
        for _ in range(self.requests):
            await host.sleep(1 + host.draw("prefork.pause", 200))
            session = self.data + host.draw("prefork.session", self.sessions)
            page = host.draw("prefork.data", self.data)
            try:
                found = await worker.read(region, page)
                await worker.write(region, session, filled(100 + number % 100))
            except ProcessExited:  # the machine has killed it
                return
            # The data was written before the first fork, so every worker must see it whatever ksmd does to its pages.
            host.always(
                found.data == filled(1 + page // 2), "workers see the data of the server", detail=f"page {page}"
            )
            host.sometimes(int(host.get("pages_sharing")) > 0, "a request is answered while data is shared")
            host.emit(SERVED, number, session)


def filled(byte: int) -> bytes:
    """A page of one byte."""
    return bytes([byte]) * PAGE_SIZE
