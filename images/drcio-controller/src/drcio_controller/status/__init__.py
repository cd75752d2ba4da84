"""What the controller knows and did, and everybody it is shown to.

One value (`model`, made by `report`), shown as JSON and metrics (`server`, `metrics`), as Events (`notices`)
and as a table (`table`).
"""
