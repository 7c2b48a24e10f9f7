"""The function whose call failed: Python raises where it is called, and names the caller's line."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from itertools import islice
from linecache import getlines
from pathlib import Path
from types import FrameType, FunctionType, MethodType

from ksmactors.call_stack import last_traceback
from ksmactors.places import is_authors


def failed_call(error: BaseException) -> MethodType | FunctionType | None:
    """Return the author's function, as it was called, that could not be called with its arguments; None if the
    exception is another one."""
    raised = last_traceback(error) if isinstance(error, TypeError) else None
    if raised is None:
        return None
    called = _called(raised.tb_frame, raised.tb_lasti)
    if not isinstance(called, (MethodType, FunctionType)):
        return None
    return called if is_authors(called.__code__.co_filename) else None


def defined_at(function: MethodType | FunctionType) -> str:
    """Return where an author's function is, as `name.py:12 in run`."""
    code = function.__code__
    return f"{Path(code.co_filename).name}:{code.co_firstlineno} in {code.co_name}"


def _called(frame: FrameType, instruction: int) -> object:
    """Return what an instruction of a frame calls; None if it calls nothing, or if that cannot be said."""
    place = next(islice(frame.f_code.co_positions(), instruction // 2, None), (None, None, None, None))
    first, last, start, end = place
    if first is None or last is None or start is None or end is None:
        return None
    lines = [line.encode() for line in getlines(frame.f_code.co_filename)[first - 1 : last]]  # columns count bytes
    if not lines:
        return None
    lines[-1] = lines[-1][:end]
    lines[0] = lines[0][start:]
    try:
        call = ast.parse(b"(" + b"".join(lines) + b")", mode="eval").body
        return _value(call.func, frame) if isinstance(call, ast.Call) else None
    except Exception:  # it is only looked at to name it
        return None


def _value(expression: ast.expr, frame: FrameType) -> object:
    """Return the value of a name, or of a chain of attributes and subscripts, in a frame.

    Raises:
        LookupError, AttributeError: it has none now, or is more than that.
    """
    match expression:
        case ast.Name(id=name):
            scopes: tuple[Mapping[str, object], ...] = (frame.f_locals, frame.f_globals)
            return next(scope[name] for scope in scopes if name in scope)
        case ast.Attribute(value=ast.Call(func=ast.Name(id="super"), args=[]), attr=name):
            return getattr(super(frame.f_locals["__class__"], frame.f_locals["self"]), name)
        case ast.Attribute(value=owner, attr=name):
            return getattr(_value(owner, frame), name)
        case ast.Subscript(value=owner, slice=ast.Name() as key):
            return _value(owner, frame)[_value(key, frame)]  # type: ignore[index]
    raise LookupError
