"""Consumer groups: membership and rebalancing (the classic protocol), and committed offsets."""
