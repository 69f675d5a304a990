"""The verbs of tools/data.py, one file each: ``HELP``, ``add_arguments`` and ``run``. No torch in here."""

VERBS = {'import': 'importing', 'validate': 'validating', 'stats': 'stats', 'split': 'splitting', 'browse': 'browsing',
         'export': 'exporting', 'synthesize': 'synthesizing'}
"""Module of each verb."""
