"""Typed Pulumi components; each knows its own part of the platform and nothing of stacks or scenarios."""
