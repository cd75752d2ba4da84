"""What can be asked of the experiment on the command line: `python -m experiments COMMAND`.

Here options become specifications, and specifications runs; progress and errors go to the terminal.
"""
