"""One script a paper: `python -m experiments.<paper>`."""
