"""Asks over TLS, trusting one certificate alone."""

import http.client
import ssl
import sys

context = ssl.create_default_context(cafile=sys.argv[2])
connection = http.client.HTTPSConnection(sys.argv[1], context=context, timeout=20)
connection.request("GET", "/healthz")
response = connection.getresponse()
print(response.status, response.read().decode().strip())
