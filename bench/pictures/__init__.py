"""What is drawn of networks: bands of robust accuracy, surfaces of scores."""
