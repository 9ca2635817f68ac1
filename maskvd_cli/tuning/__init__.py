"""Search a method's parameters under a constraint on mAP50: space, trials, choice."""
