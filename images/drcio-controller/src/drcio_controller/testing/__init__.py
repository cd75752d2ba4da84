"""A Kubernetes API server for tests and for the node twin: real HTTP, real watches, in memory.

    selectors    label and field selectors
    store        objects, resource versions, a bounded history
    faults       what a test can make the server do wrong
    podapi       the HTTP routes (needs the package's extra `testing`)
    server       run it on a loopback port

It serves pods, Events and ConfigMaps as the API conventions have them: resource versions that only
grow, watches that resume, bookmarks, 409 for conflicts and 410 once the history has moved on.
"""
