"""What a stack is asked to be: keys, their defaults, and what is refused before anything is made.

Read once, here; nobody else touches `pulumi.Config`.
"""
