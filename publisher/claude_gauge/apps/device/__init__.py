"""The cluster's firmware seen from this side: its files, settings and cable, and a board simulated in software."""
