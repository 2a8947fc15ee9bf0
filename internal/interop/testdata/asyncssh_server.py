# An asyncssh server that allows direct-tcpip. Prints its port.
# usage: asyncssh_server.py HOSTKEYFILE AUTHORIZED_KEYS
import asyncio, sys
import asyncssh

class Server(asyncssh.SSHServer):
    def connection_requested(self, dest_host, dest_port, orig_host, orig_port):
        return True

async def main():
    s = await asyncssh.listen("127.0.0.1", 0, server_host_keys=[sys.argv[1]], authorized_client_keys=sys.argv[2],
                              server_factory=Server)
    print(s.sockets[0].getsockname()[1], flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)

asyncio.run(main())
