"""The command `discovery`: removes a node's device from Home Assistant."""
