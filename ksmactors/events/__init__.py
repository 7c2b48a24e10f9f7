"""Every event the emulator can log, typed once; the ring they go to; structlog set-up and sinks."""
