"""Every event that the emulator logs, typed once; the ring that holds them; structlog set-up and sinks."""
