"""The study behind docs/optimization.md: every technique on three data sets, with matched controls."""
