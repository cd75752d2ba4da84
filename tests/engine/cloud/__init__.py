"""Stand-ins for aws, eks, docker and random: they hold what they are given and refuse what the real ones
refuse.

`account.py` is what a cloud account holds, `rules.py` how a kind of resource is declared, one module per
service the rules themselves, each with its source, and `provider.py` speaks the engine's protocol.
"""
