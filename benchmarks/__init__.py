"""Side-by-side ratios against peers, and the held-out evaluation."""
