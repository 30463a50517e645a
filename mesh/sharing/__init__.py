"""What may leave this machine as a file or as output of a command, and how files are kept."""
