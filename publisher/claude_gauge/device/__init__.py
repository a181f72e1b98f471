"""The cluster's firmware seen from this side: its files, its settings, its cable, and a board made of nothing."""
