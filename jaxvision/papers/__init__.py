"""One package a paper; papers never import each other."""
