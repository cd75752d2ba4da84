"""The knobs as they must be: made to hold, kept so, and put back as they were found.

What to set is decided elsewhere (`law`, `plan`); a file's name and format are `kernel`'s.
"""
