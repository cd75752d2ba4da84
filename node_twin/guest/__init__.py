"""What runs in the guest: its first program, the channel by which the host asks, looks at knobs and counters.

Nothing is judged here: a sample is what the kernel's files said.
"""
