"""A broker of our own: one embedded for trying out, and the making of a closed Mosquitto for the house."""
