"""Changes of a model that its author asks for. Passes, which preserve it, live apart."""
