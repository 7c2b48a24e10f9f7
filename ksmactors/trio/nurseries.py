"""Nurseries: each child is an actor of its own."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from types import TracebackType
from typing import Any, Generic, TypeVar

from ksmactors.trio.scopes import PASSING, CancelScope
from ksmactors.trio.tasks import Cancelled, ScopedTask, cancel_shielded_checkpoint, park, tables, tell, unpark

T = TypeVar("T")


class TaskNursery:
    """Children of a block, as trio.Nursery: the block ends when all of them have.

    Attributes:
        cancel_scope: what is cancelled when a child or the block raises.
    """

    def __init__(self, parent: ScopedTask, scope: CancelScope) -> None:
        self.parent_task, self.cancel_scope = parent, scope
        self._scopes = list(parent.scopes)
        self._children: dict[ScopedTask, None] = {}
        self._errors: list[BaseException] = []
        self._waiting = self._closed = False
        self.name = "its children"

    @property
    def child_tasks(self) -> frozenset[ScopedTask]:
        """The children that have not ended."""
        return frozenset(self._children)

    def label(self, field: object) -> str:
        """Return "": the block and its children alone use it."""
        return ""

    def start_soon(self, async_fn: Callable[..., Awaitable[Any]], *args: Any, name: object = None) -> None:
        """Start a child that awaits `async_fn(*args)`. Its actor is named after the function, with a number from the
        second on."""
        self._start(partial(async_fn, *args), _name(async_fn, name))

    async def start(self, async_fn: Callable[..., Awaitable[Any]], *args: Any, name: object = None) -> Any:
        """Start a child that gets a `task_status`, and wait for its call of `task_status.started`; return the value
        that was passed to it.

        Raises:
            RuntimeError: the child has ended without that call.
        """
        status: StartStatus[Any] = StartStatus(tables().current())
        scope = CancelScope()

        async def child() -> None:
            with scope:
                try:
                    await async_fn(*args, task_status=status)
                except PASSING:
                    raise
                except BaseException as error:
                    if not status.over(error):
                        raise
                status.over(RuntimeError("child exited without calling task_status.started()"))

        self._start(child, _name(async_fn, name))
        while not status.done:

            def abort() -> bool:
                scope.cancel()
                return False

            await park(status, abort)
        if status.error is not None:
            raise status.error
        return status.value

    def _start(self, code: Callable[[], Awaitable[Any]], name: str) -> None:
        if self._closed:
            raise RuntimeError("Nursery is closed to new arrivals")
        table = tables()
        name = table.numbered(name).replace(" ", "/")

        async def start() -> None:
            task = table.current()
            await cancel_shielded_checkpoint()
            try:
                await code()
            except PASSING:
                raise
            except BaseException as error:
                self._failed(error)
            del self._children[task]
            table.ended(task)
            if self._waiting and not self._children:
                unpark(self.parent_task)

        actor = table.conductor.spawn(name, start(), cpu=len(table.conductor.actors))
        table.conductor.opening.append(actor)
        self._children[table.add(actor, self._scopes[:])] = None
        tell(self, f"starts {name}")

    def _failed(self, error: BaseException) -> None:
        self._errors.append(error)
        self.cancel_scope.cancel()

    async def finish(self, error: BaseException | None) -> BaseException | None:
        """Wait for the children; return what they and the block have raised."""
        if error is not None:
            self._failed(error)
        if self._children:
            self._waiting = True
            seen = False

            def abort() -> bool:
                nonlocal seen
                if not seen:
                    seen = True
                    self._failed(Cancelled())
                return False

            await park(self, abort)
        else:
            await cancel_shielded_checkpoint()
        self._closed = True
        return BaseExceptionGroup("Exceptions from Trio nursery", self._errors) if self._errors else None


class open_nursery:  # noqa: N801  # the name that trio gives it
    """A block with a nursery, as trio.open_nursery. Exceptions leave it in groups, as in trio's strict mode."""

    def __init__(self, strict_exception_groups: bool | None = None) -> None:
        self._nursery: TaskNursery | None = None
        self._scope = CancelScope()

    async def __aenter__(self) -> TaskNursery:
        task = tables().current()
        self._scope.__enter__()
        self._nursery = TaskNursery(task, self._scope)
        return self._nursery

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        if isinstance(error, PASSING):
            return False
        assert self._nursery is not None, "a block is entered before it is left"
        left = self._scope.close(await self._nursery.finish(error))
        if left is not None:
            raise left
        return True


class StartStatus(Generic[T]):
    """What a child that was started with `start` calls when it is ready."""

    name = "the child to start"

    def __init__(self, waiting: ScopedTask) -> None:
        self._waiting = waiting
        self.done = False
        self.value: T | None = None
        self.error: BaseException | None = None

    def started(self, value: T | None = None) -> None:
        """Let the task that called `start` go on."""
        if self.done:
            raise RuntimeError("called 'started' twice on the same task status")
        self.done, self.value = True, value
        unpark(self._waiting)

    def over(self, error: BaseException) -> bool:
        """The child has ended; return whether `start` raises the error."""
        if self.done:
            return False
        self.done, self.error = True, error
        unpark(self._waiting)
        return True


def _name(async_fn: Callable[..., Awaitable[Any]], given: object) -> str:
    while isinstance(async_fn, partial):
        async_fn = async_fn.func
    return str(given) if given is not None else str(getattr(async_fn, "__name__", "task"))
