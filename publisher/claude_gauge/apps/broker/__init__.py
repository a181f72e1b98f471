"""The command `broker`: makes the files of a closed Mosquitto and checks from outside that it is closed."""
