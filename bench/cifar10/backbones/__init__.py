"""What turns images into features: the network, how it is trained, and the features on the disk."""
