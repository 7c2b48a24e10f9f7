"""Many schedules: what is run, one run of it, seeds dealt to workloads, findings kept as files.

A schedule is a function of its subject (workload, parameters, machine, kernel), its seed and its strategy alone;
it knows nothing of the campaign it is part of.
"""
