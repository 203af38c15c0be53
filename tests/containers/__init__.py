"""The image, run by a real container runtime, and the files that start it: compose, Kubernetes, Vagrant."""
