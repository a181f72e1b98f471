"""The command `broker`: makes a closed Mosquitto for the house, and proves from outside that it is closed."""
