"""Instructions inside of a kernel's function, found in its machine code by the members of structures that they access.

So a place inside of a function is known in a build that was never looked at: what the source does first, second and
last with a member is in the code in the same order, whatever registers and offsets the compiler has chosen. Offsets of
members come from the kernel's own type information. Where the code does not have exactly what a rule expects, there is
no place, and nothing is held.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from ksmactors.errors import UsageError

if TYPE_CHECKING:
    from capstone import CsInsn

FUNCTION_MAX: Final = 4096
"""Bytes of a function that are decoded."""

WORD_BYTES: Final = 8
"""Size of the members: an address or a frame number."""


def find(code: bytes, rule: str, member: int, nth: int = 1) -> int | None:
    """Return the offset of an instruction in the code of a function; None if the code does not have it.

    Args:
        code: the machine code of the function.
        rule: one of RULES.
        member: the offset of the member in its structure, in bytes.
        nth: which of the instructions that fit.

    Raises:
        UsageError: capstone is not installed.
    """
    instructions = _decoded(code)
    found = RULES[rule](instructions, [index for index, one in enumerate(instructions) if _accesses(one, member)])
    return instructions[found[nth - 1]].address if 0 < nth <= len(found) else None


def _decoded(code: bytes) -> list[CsInsn]:
    try:
        from capstone import CS_ARCH_X86, CS_MODE_64, Cs
    except ImportError:
        raise UsageError(
            "places inside of functions of this build need capstone; install it: pip install 'ksmactors[guest]'"
        ) from None
    decoder = Cs(CS_ARCH_X86, CS_MODE_64)
    decoder.detail = True
    return list(decoder.disasm(code[:FUNCTION_MAX], 0))


def _accesses(instruction: CsInsn, member: int) -> bool:
    """Whether an instruction reads or writes a member; the stack and global variables are no structures."""
    from capstone.x86 import X86_OP_MEM, X86_REG_INVALID, X86_REG_RIP, X86_REG_RSP

    return instruction.mnemonic != "lea" and any(
        operand.type == X86_OP_MEM
        and operand.size == WORD_BYTES
        and operand.mem.disp == member
        and operand.mem.index == X86_REG_INVALID
        and operand.mem.base not in (X86_REG_INVALID, X86_REG_RIP, X86_REG_RSP)
        for operand in instruction.operands
    )


def _loads(code: Sequence[CsInsn], fitting: Sequence[int]) -> list[int]:
    """The instructions that read it."""
    return [index for index in fitting if not _is_store(code[index])]


def _stores(code: Sequence[CsInsn], fitting: Sequence[int]) -> list[int]:
    """The instructions that write it."""
    return [index for index in fitting if _is_store(code[index])]


def _kept(code: Sequence[CsInsn], fitting: Sequence[int]) -> list[int]:
    """The instruction that reads it to use it later: there must be one, beside those that only compare."""
    loads = _loads(code, fitting)
    found = [index for index in loads if not _is_compared(code, index)]
    return found if len(found) == 1 < len(loads) else []


def _passed(code: Sequence[CsInsn], fitting: Sequence[int]) -> list[int]:
    """Where the function goes on if the value that is read first is the one that is expected."""
    return _sides(code, fitting)[:1]


def _missed(code: Sequence[CsInsn], fitting: Sequence[int]) -> list[int]:
    """Where it goes on if that is another one."""
    return _sides(code, fitting)[1:]


def _sides(code: Sequence[CsInsn], fitting: Sequence[int]) -> list[int]:
    """Return where the comparison of the value that is read first leads: if equal, if not. Empty if it is not found."""
    from capstone import CS_GRP_JUMP

    for load in _loads(code, fitting)[:1]:
        jump = next((index for index in range(load + 1, len(code)) if code[index].group(CS_GRP_JUMP)), len(code))
        if jump + 1 >= len(code) or code[jump].mnemonic not in ("je", "jne"):
            return []
        places = {instruction.address: index for index, instruction in enumerate(code)}
        target = places.get(code[jump].operands[0].imm)
        if target is None:
            return []
        return [target, jump + 1] if code[jump].mnemonic == "je" else [jump + 1, target]
    return []


def _is_store(instruction: CsInsn) -> bool:
    from capstone import CS_AC_WRITE
    from capstone.x86 import X86_OP_MEM

    return any(operand.type == X86_OP_MEM and operand.access & CS_AC_WRITE for operand in instruction.operands)


def _is_compared(code: Sequence[CsInsn], index: int) -> bool:
    """Whether a value is compared where it is read, or by the next instruction."""
    load = code[index]
    if load.mnemonic == "cmp":
        return True
    following = code[index + 1] if index + 1 < len(code) else None
    return (
        following is not None
        and following.mnemonic == "cmp"
        and load.operands[0].reg in [operand.reg for operand in following.operands]
    )


RULES: Final[dict[str, Callable[[Sequence[CsInsn], Sequence[int]], list[int]]]] = {
    "load": _loads, "store": _stores, "kept": _kept, "passed": _passed, "missed": _missed,
}  # fmt: skip
"""Of the instructions that access a member, those that fit; in the order of their addresses."""
