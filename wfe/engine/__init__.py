"""How steps are run: looked at, decided, called, published."""
