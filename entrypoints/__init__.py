"""The service's entry points: settings, the container that wires everything, HTTP and the command line."""
