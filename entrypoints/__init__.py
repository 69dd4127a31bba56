"""Where the world comes in: settings, the container that wires everything, HTTP and the command line."""
