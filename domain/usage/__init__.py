"""What is used: requests, tokens and the time of runners, by user, agent and model."""
