"""Parts of ablation.py."""
