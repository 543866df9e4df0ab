"""What the command line does with a job: one module a command."""
