"""Files that outlive a command: result folders, heatmaps and masks; written whole or not at all."""
