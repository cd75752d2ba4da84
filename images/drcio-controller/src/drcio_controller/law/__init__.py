"""How a node is driven: our own policy, and those that it is compared with.

Each policy is a pure function of what was seen; `registry` picks one by its configured name.
"""
