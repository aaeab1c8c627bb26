"""What one inference costs on a board, layer by layer: an emulator replays it and its instructions are counted."""
