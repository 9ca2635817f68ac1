"""Result files to tables and pictures; runs nothing, imports no method."""
