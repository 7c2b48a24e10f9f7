"""What a case of the corpus is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Case:
    """A known defect that can be shown, or a change that is none (a negative control).

    Attributes:
        name: how `ksmactors docs protocol` numbers it: S5a, H3, ...
        title: what goes wrong, in a line.
        workload, params, inject: what is run, as on the command line.
        kernel, without, with_: where it is run: the kernel that has the defect, or the commit that is undone, or the
            mutant that is put on.
        repair: variants that repair it on its kernel, where that is no `without` or `with_`.
        watcher, kind, where: what must be found, and in which kernel function; all empty for a negative control.
        also: other signatures of the same defect, when another actor reaches its consequences first.
        script: the directed schedule that shows it in one run (of the control: the one that would).
        draws: what is drawn in the directed schedule, by label and in order (`inject.KIND`: the highest value is a
            fault; `memory.FIELD`: how old the value is that a load sees); 0 where it does not say.
        story: how it happens, in some sentences: what each actor does, in which order, and what is observed.
        silent_because: for a negative control: why nothing may be found.
        headline: whether it is what its commit is about.
        confirmed: the kernels on which it was reproduced, on stock kernels and without the emulator.
    """

    name: str
    title: str
    workload: str
    story: str
    script: tuple[str, ...]
    watcher: str = ""
    kind: str = ""
    where: str = ""
    also: tuple[str, ...] = ()
    kernel: str = "series"
    without: tuple[str, ...] = ()
    with_: tuple[str, ...] = ()
    repair: tuple[str, ...] = ()
    params: Mapping[str, str] = field(default_factory=dict)
    inject: str = ""
    draws: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    silent_because: str = ""
    headline: bool = False
    confirmed: tuple[str, ...] = ()

    @property
    def arguments(self) -> list[str]:
        """What is run, as words of a command line."""
        words = [self.workload]
        for key, value in self.params.items():
            words += ["-p", f"{key}={value}"]
        words += ["--kernel", self.kernel] if self.kernel != "series" else []
        for name in self.without:
            words += ["--without", name]
        for name in self.with_:
            words += ["--with", name]
        return words + (["--inject", self.inject] if self.inject else [])

    @property
    def signature(self) -> str:
        """The finding's signature; empty for a negative control."""
        return f"{self.watcher}/{self.kind}@{self.where}" if self.watcher else ""

    def explains(self, signature: str) -> bool:
        """Whether a finding with this signature may be this defect."""
        return bool(signature) and signature in (self.signature, *self.also)
