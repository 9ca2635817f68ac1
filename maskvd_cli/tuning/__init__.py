"""Search a method's parameters under a limit on what the headline loses: space, trials, choice."""
