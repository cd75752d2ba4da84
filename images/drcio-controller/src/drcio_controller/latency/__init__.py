"""How long pods say that their own requests take: fetched, read, and turned into a percentile.

A pod's answer is a stranger's text: nothing it says can cost the agent more than a bounded wait.
"""
