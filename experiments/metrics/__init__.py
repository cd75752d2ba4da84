"""A run's Prometheus data: kept beside it, opened afterwards, exported as a table.

No verdict is made of it; those come from the raw records.
"""
