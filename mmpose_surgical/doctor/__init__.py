"""What ``tools/doctor.py`` looks at: the environment, and the work directories that runs left."""
