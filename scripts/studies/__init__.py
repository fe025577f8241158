"""Parts of the scripts that study what a choice is worth."""
