"""What is there already, in the stack's state and in its cluster, and which changes it cannot take.

A change that would end half-way is refused before anything is touched.
"""
