"""The embedded data set: ray-cast laparoscopic clips with exact landmarks, masks and activity (no torch in here)."""

SPEC_NAMES = ('bench', 'bench_looks', 'bench_motion', 'default', 'demo')
"""Names of ``generate.SPECS``, without importing what draws."""
