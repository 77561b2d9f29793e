"""One pooling, one miner and one freezing policy for every backend."""
