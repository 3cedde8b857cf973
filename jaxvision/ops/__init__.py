"""Functions of arrays that know no paper, one subject a file."""
