"""The built-in workloads: plug-ins like anybody else's, registered through the same entry points."""
