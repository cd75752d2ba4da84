"""Is the volume what it says? `python -m node_twin check`.

`guest` measures, `rows` knows what each figure must be.
"""
