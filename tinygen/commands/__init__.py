"""The commands of the command line, a module each: arguments in, exit code out; loaded when they are called."""
