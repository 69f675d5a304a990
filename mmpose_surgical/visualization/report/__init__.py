"""The report of finished runs: one self-contained page, and its tables as Markdown and LaTeX."""
