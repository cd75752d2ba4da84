"""Fix the shape of a scored neighbourhood and of the model. A prepared directory is made for one shape."""

from __future__ import annotations

USER_FANOUT = 8
"""Reviews drawn from the scored review's user. Most users have fewer: the draw repeats."""
PRODUCT_FANOUT = 24
"""Reviews drawn from its product, which has hundreds."""
SLOTS = 3 + USER_FANOUT + PRODUCT_FANOUT
"""Places of one review's neighbourhood: itself, its user, its product, and the drawn reviews."""
HIDDEN = 64
ARCHITECTURE = f"graphsage-2hop/user{USER_FANOUT}-product{PRODUCT_FANOUT}/hidden{HIDDEN}"
