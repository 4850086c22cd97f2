"""What ``trioweb run`` leaves to Hypercorn's protocols (HTTP/2, WebSockets), and what it adds to them."""
