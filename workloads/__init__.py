"""The built-in workloads: plug-ins like a user's, registered through the same entry points."""
