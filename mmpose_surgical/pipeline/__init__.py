"""From a config to a finished run: what is missing is made, what is done is kept, what was cut off goes on."""
