"""Home Assistant: every field of the contract as an entity, by MQTT device discovery."""

from claude_gauge.homeassistant.announcer import HomeAssistant
from claude_gauge.homeassistant.discovery import discovery, discovery_topic

__all__ = ["HomeAssistant", "discovery", "discovery_topic"]
