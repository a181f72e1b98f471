"""The firmware of the cluster: four needles and five lamps, updated by MQTT messages without polling."""

VERSION = "0.1.0"
