"""Real-time graph-neural-network fraud scoring that reads features from disk."""
