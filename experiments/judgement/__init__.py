"""From raw records to figures, and from figures to a verdict with its reasons.

Pure functions of what lies on disk: it needs no target, and a verdict can be made again.
"""
