"""The DSL: streams and tables as objects whose methods add operators to a topology."""
