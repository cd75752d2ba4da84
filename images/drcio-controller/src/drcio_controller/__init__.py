"""Node agent that gives pods their I/O share on cgroup v2.

A tick: `observe` looks at every counter, `window` makes rates of two looks, a policy (`law`) decides, `plan`
turns decisions into knobs, `knobs` makes them hold. `loop` does it, `agent` brings it the news.

    kernel     the files of cgroups and block devices: names, formats, errors
    engines    how a budget becomes knobs: iocost, BFQ, io.max
    law        what to do
    knobs      made to hold, and put back
    pods       which pod, in which cgroup, with which weight
    latency    what pods say of their own requests
    kube       the API server: client, informers, Events
    status     what is known, and how it is shown
    testing    an API server and a node for tests
"""
