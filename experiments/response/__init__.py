"""How quickly the controller reacts, and how exactly it shares: `python -m experiments respond`.

`figures` works the answers out of raw observations (pure); `drive` makes the observations on a twin;
`table` shows them.
"""
