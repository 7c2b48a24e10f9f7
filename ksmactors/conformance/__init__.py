"""The scenario language; the emulator, this machine's kernel and recordings as performers of the same script.

A scenario is a small text of operations on processes, pages and knobs. `language` parses it; `reporting` writes down
what happens in the form that recordings have, on an emulated kernel (`performer`, `emulator`) or on the running one
(`live`, with real processes); `recording` reads what a kernel did once. `comparing` puts two of them side by side.
`generate` writes random scenarios, `contents` says what must be read back in them, and `hunting` compares one after
the other, shrinks what differs and keeps it.
"""
