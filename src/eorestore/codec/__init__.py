"""SAR scenes as few bytes: entropy coder, tile coders, container, plug-ins; knows no network's training."""
