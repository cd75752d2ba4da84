"""A pod as the node has it: its class and targets, whose cgroup is whose, where it lies, what it weighs.

Pure, but for looking where a cgroup is.
"""
