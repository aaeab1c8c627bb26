"""Model files in, graphs out: the only place that knows file formats."""
