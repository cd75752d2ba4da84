"""What is asked for and what was read: specifications and raw records, and how their files are kept.

Nothing is concluded here. Every stored format of the experiment but its results is described here.
"""
