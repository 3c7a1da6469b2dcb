"""The service's own tools, for programs that speak the Model Context Protocol: one route, no state between requests.

Read in this order: `rpc`, `tools`, `door`.
"""
