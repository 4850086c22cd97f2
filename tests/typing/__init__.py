"""What an editor knows: files that mypy and pyright check, and nobody runs.

In ``right.py`` nothing is an error, and each type is what it says. In ``wrong.py`` every marked line is an error to
both: a mark on a line that is none would be an error itself.
"""
