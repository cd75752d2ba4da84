"""The twin as its host has it: a kernel, a guest that boots and ends, a session with it.

Runs as any user; everything that needs root happens in the guest.
"""
