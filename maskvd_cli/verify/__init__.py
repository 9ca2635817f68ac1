"""Golden cases: what the authors' implementations compute, run through ours and compared."""
