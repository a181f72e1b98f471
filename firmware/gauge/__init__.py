"""The firmware of the cluster: four needles and five lamps that are told what to show, and never ask."""

VERSION = "0.1.0"
