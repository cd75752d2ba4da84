"""What makes a weight act on a device: iocost, BFQ, or limits. Each engine is a set of knobs."""
