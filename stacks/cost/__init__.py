"""What a stack costs by the hour and the month, from its settings and a table of prices.

Pure: no price is asked for anywhere.
"""
