"""The latency that pods report of their own requests: fetched, read, and turned into a percentile.

A pod's answer is a stranger's text: nothing it says can cost the agent more than a bounded wait.
"""
