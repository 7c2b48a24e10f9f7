"""Examples of workloads, of growing size; README.md beside this file goes through them.

They are named by module, as `workloads.examples.twins:Twins`, and are not among those that `stress` runs by default.
"""
