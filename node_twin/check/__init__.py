"""Does the volume keep its formula? `python -m node_twin check`.

`guest` measures, `rows` knows what each figure must be.
"""
