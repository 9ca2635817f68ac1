"""Result files to tables and pictures; runs nothing, knows no method."""
