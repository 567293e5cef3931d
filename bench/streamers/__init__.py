"""Stream programs that `python -m bench streams` compares, one for each framework."""
