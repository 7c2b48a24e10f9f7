"""The trio tasks: ksmd, migration daemons, page-fault handlers, unmerge workers, reclaimers, hotplug, admin, threads.

An actor is a class with a mailbox, where it takes requests, and one `async def run`. `kthreads` says who is on a
machine; `process` is what a workload sees of one.
"""
