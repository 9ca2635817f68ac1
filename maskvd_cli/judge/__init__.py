"""Result files to rows and judgements: verdicts, fronts, papers' values; imports no method."""
