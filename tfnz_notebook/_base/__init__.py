"""What both halves stand on, each written once: names, endpoints, processes, text for people."""
