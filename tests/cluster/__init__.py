"""The local cluster, and the stand-in kubelet held to the real one.

One node for the session; programs that are missing fail the tests. `make test-cluster` runs them.
"""
