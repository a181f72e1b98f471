"""Home Assistant: every field of the contract as an entity, by MQTT device discovery."""
