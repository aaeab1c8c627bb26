"""Where every byte of RAM lives: lifetimes in, arena offsets out."""
