"""How clients come in: the socket, and who is let in."""
