"""The same campaign with and without an idea: what differs, by how much, and whether that can be chance."""
