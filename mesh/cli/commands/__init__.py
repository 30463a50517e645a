"""One module per command; each exports `COMMAND`. A new command is a new module, nothing else."""
