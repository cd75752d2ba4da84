"""Cgroup v2 and block devices as the kernel shows them: every file's name, format and error.

Strict parsers and a small set of safe file operations; nothing is decided here.
"""
