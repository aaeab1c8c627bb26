"""What a model's code takes on its board, found by building it: flash, RAM, and a bound on its stack."""
