"""A float model as a quantised one that fits a board: candidates, the cheapest first, judged by the compiler."""
