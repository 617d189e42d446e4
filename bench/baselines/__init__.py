"""What others would train against the same attacks: the baselines that studies compare our networks with."""
