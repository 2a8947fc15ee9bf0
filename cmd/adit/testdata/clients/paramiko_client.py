"""Connects with paramiko through a ProxyCommand. Says CONNECTED or the error."""
import sys

import paramiko

transport = paramiko.Transport(paramiko.ProxyCommand(sys.argv[1]))
try:
    # It does not see that the helper has ended, and then returns as if all was well.
    transport.start_client(timeout=10)
    transport.get_remote_server_key()
    print("CONNECTED")
except Exception as e:
    print("error:", e)
    sys.exit(1)
finally:
    transport.close()
