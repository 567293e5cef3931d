"""Servers that tests need and Ottla does not: started from what the machine has installed, thrown away afterwards."""
